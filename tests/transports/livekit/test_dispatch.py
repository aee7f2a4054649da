"""Rooms of a real livekit-server, as they come to ingress: who gets them, what they say of themselves, how they end."""

import asyncio
import base64
import hashlib
import json
from collections.abc import AsyncIterator, Callable, Collection, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
import pytest
from livekit import api, rtc
from structlog.testing import capture_logs

from antiphon_testing.agents import scripted_agent
from antiphon_testing.command import antiphon
from antiphon_testing.platform import Platform, open_platform
from antiphon_testing.room_server import KEY, SECRET, RoomServer, room_server, settings
from bus.errors import NoResponders
from gateway.rooms import receive
from schemas import control, subjects
from schemas.events import MetadataRefused, SessionClosed, SessionOpened
from stages.runtime.context import StageContext
from stages.runtime.worker import Worker
from transports.livekit import dispatch, registration
from transports.livekit.room_service import RoomService
from transports.livekit.rooms import LiveKitRooms
from transports.livekit.tokens import Tokens
from transports.livekit.worker_protocol import RoomJob
from transports.transport import CallerInput, Refused, RoomHost

WITHIN_S = 20.0
DESK, SHOP, BUILT_IN = (scripted_agent(agent) for agent in ("desk", "shop", "default"))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RoomServer]:
    with room_server(tmp_path_factory.mktemp("livekit")) as running:
        yield running


@pytest.fixture(name="office")
async def open_office(tmp_path: Path, server: RoomServer) -> AsyncIterator["Office"]:
    async with taking_rooms(tmp_path, server) as office:
        yield office


def jwt(token: str) -> dict[str, Any]:
    """What a token says."""
    payload = token.split(".")[1]
    said: dict[str, Any] = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return said


class Seat:
    """The caller's end in a room whose people make no sound."""

    def __init__(self) -> None:
        self.over = asyncio.Event()

    async def ready(self) -> None: ...

    def play(self, pcm: bytes) -> None: ...

    def clear(self) -> None: ...

    def refuse(self, message: str) -> None: ...

    def end(self, error: str = "") -> None:
        self.over.set()


@dataclass
class Attendant:
    """Takes jobs as the hearing half does, and stays out of the room."""

    jobs: list[RoomJob] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)
    lines: dict[str, CallerInput] = field(default_factory=dict)
    problem: Exception | None = None

    async def __call__(self, host: RoomHost, job: RoomJob) -> Collection[str]:
        self.jobs.append(job)
        seat = Seat()
        try:
            if self.problem:
                raise self.problem
            self.lines[job.room] = await host.answer(job.agent, job.session, "null", seat)
            await seat.over.wait()
            return ()
        finally:
            self.ended.append(job.room)

    @property
    def rooms(self) -> list[str]:
        return [job.room for job in self.jobs]

    async def serves(self, room: str) -> None:
        """Returns when its session has begun."""
        await until(lambda: room in self.lines)


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(WITHIN_S):
        while not condition():
            await asyncio.sleep(0.02)


@asynccontextmanager
async def service(server: RoomServer) -> AsyncIterator[api.LiveKitAPI]:
    async with api.LiveKitAPI(server.url, KEY, SECRET) as running:
        yield running


async def open_room(server: RoomServer, name: str, metadata: str = "", *agents: api.RoomAgentDispatch) -> None:
    async with service(server) as running:
        await running.room.create_room(api.CreateRoomRequest(name=name, metadata=metadata, agents=agents))


@dataclass
class Office:
    """A house with an ingress that takes rooms, beside the one that every house has."""

    home: Platform
    server: RoomServer
    rooms: LiveKitRooms
    attendant: Attendant
    ingress: Worker

    @property
    def session(self) -> StageContext:
        [session] = self.ingress.sessions.values()
        return session.context

    async def close(self) -> None:
        """End what goes on and close every room, so that the next test finds none."""

        def over() -> bool:
            for line in self.attendant.lines.values():
                line.hang_up()
            return len(self.attendant.ended) == len(self.attendant.jobs)

        async with service(self.server) as running:
            for room in (await running.room.list_rooms(api.ListRoomsRequest())).rooms:
                await running.room.delete_room(api.DeleteRoomRequest(room=room.name))
        await until(over)


@asynccontextmanager
async def taking_rooms(
    folder: Path, server: RoomServer, *, agent_name: str = "", capacity: int = 100, default: str = "desk"
) -> AsyncIterator[Office]:
    """It, registered."""
    async with open_platform(folder, [DESK, SHOP, BUILT_IN]) as home:
        yield await one_more(home, server, agent_name, capacity, default)


async def one_more(
    home: Platform, server: RoomServer, agent_name: str = "", capacity: int = 100, default: str = "desk"
) -> Office:
    attendant = Attendant()
    rooms = home.rooms = LiveKitRooms(server.settings, default, agent_name, attendant)
    ingress = await home.add(subjects.INGRESS, capacity)
    await asyncio.wait_for(rooms.registered.wait(), WITHIN_S)
    return Office(home, server, rooms, attendant, ingress)


async def told_its_load() -> None:
    """The server knows: it is told a change soon, and says nothing about it."""
    await asyncio.sleep(3 * dispatch.LOOK_EVERY_S)


# --- who gets a room, and what it says --------------------------------------------------------------------------------


async def test_a_new_room_gets_the_agent_that_it_names_and_the_session_knows_why(
    tmp_path: Path, server: RoomServer
) -> None:
    told = {"agent_id": "shop", "campaign_id": "spring", "lead_id": "7", "phone_number": "+49 30 1"}
    async with taking_rooms(tmp_path, server) as office:
        heard = await office.home.record()
        await open_room(server, "Lobby / 1 *>", json.dumps(told))
        opened = await heard.until(SessionOpened)
        assert opened.agent == "shop"
        assert msgspec.to_builtins(opened.origin) == {
            "room": "Lobby / 1 *>", "campaign_id": "spring", "lead_id": "7", "phone_number": "+49 30 1"
        }  # fmt: skip
        assert heard.all(MetadataRefused) == []
        [job] = office.attendant.jobs
        assert (job.room, job.session, job.url) == ("Lobby / 1 *>", opened.session, server.url)
        assert job.token not in repr(job)
        async with service(server) as running:  # the agent is taken out
            [wanted] = await running.agent_dispatch.list_dispatch(job.room)
            await running.agent_dispatch.delete_dispatch(wanted.id, job.room)
        closed = await heard.until(SessionClosed)
        assert closed.reason == "room_closed"
        await office.close()


async def test_ingress_enters_unseen_and_egress_as_the_agent_of_one_room(tmp_path: Path, server: RoomServer) -> None:
    async with taking_rooms(tmp_path, server) as office:
        await open_room(server, "quiet")
        await until(lambda: office.attendant.jobs)
        [job] = office.attendant.jobs
        ear, agent = (jwt(token) for token in (job.token, Tokens(server.settings).egress_token("quiet", job.session)))
        assert (ear["video"]["hidden"], ear["video"]["canPublish"], ear["video"]["canSubscribe"]) == (True, False, True)
        assert ear["video"]["room"] == agent["video"]["room"] == "quiet"
        assert (agent["kind"], agent["sub"]) == ("agent", f"agent-{job.session}")
        assert all(agent["video"][may] for may in ("canPublish", "canPublishData", "canUpdateOwnMetadata"))
        assert not any(agent["video"].get(may) for may in ("agent", "roomAdmin", "roomCreate", "roomList"))
        assert 3_500 < agent["exp"] - agent["nbf"] <= 3_600
        await office.close()


@pytest.mark.parametrize(
    ("metadata", "agent", "refused"),
    [
        ("", "desk", [("missing", "")]),
        ("who are you", "desk", [("not_json", "")]),
        ("[1]", "desk", [("not_an_object", "")]),
        ('{"agent_id": 7, "lead_id": "l"}', "desk", [("wrong_type", "agent_id")]),
        ('{"agent_id": "a.b"}', "desk", [("bad_value", "agent_id")]),
        ('{"agent_id": "nobody"}', "desk", [("unknown_agent", "agent_id")]),
        ('{"agent_id": "shop", "phone_number": 1}', "shop", [("wrong_type", "phone_number")]),
    ],
)
async def test_a_room_that_says_nothing_good_is_answered_and_the_journal_tells(
    office: Office, metadata: str, agent: str, refused: list[tuple[str, str]]
) -> None:
    heard = await office.home.record()
    await open_room(office.server, "odd", metadata)
    opened = await heard.until(SessionOpened)
    assert opened.agent == agent
    await heard.until(MetadataRefused)
    assert [(event.reason, event.field) for event in heard.all(MetadataRefused)] == refused
    await office.close()


async def test_metadata_as_long_as_the_server_lets_through_is_no_dead_room(office: Office) -> None:
    heard = await office.home.record()
    long = json.dumps({"agent_id": "shop", "notes": "x" * 500_000})
    await open_room(office.server, "long", "", api.RoomAgentDispatch(metadata=long))
    opened = await heard.until(SessionOpened)
    refused = await heard.until(MetadataRefused)
    assert (opened.agent, refused.reason) == ("desk", "too_long")
    await office.close()


async def test_where_even_the_default_agent_is_unknown_the_built_in_one_answers(
    tmp_path: Path, server: RoomServer
) -> None:
    async with taking_rooms(tmp_path, server, default="gone") as office:
        heard = await office.home.record()
        await open_room(server, "lost")
        opened = await heard.until(SessionOpened)
        assert opened.agent == "default"
        assert [event.reason for event in heard.all(MetadataRefused)] == ["missing", "unknown_agent"]
        await office.close()


async def test_a_named_worker_takes_only_rooms_that_ask_for_it(tmp_path: Path, server: RoomServer) -> None:
    async with taking_rooms(tmp_path, server, agent_name="front") as office:
        await open_room(server, "for nobody")
        asked = json.dumps({"agent_id": "shop"})
        await open_room(server, "for front", "{}", api.RoomAgentDispatch(agent_name="front", metadata=asked))
        await until(lambda: office.attendant.jobs)
        assert [(job.room, job.agent) for job in office.attendant.jobs] == [("for front", "shop")]
        told = await antiphon(
            "dispatch", "for nobody", "--agent", "shop", "--agent-name", "front", "--lead", "l7", "--json",
            "--livekit-url", server.url, ANTIPHON_LIVEKIT_KEY=KEY, ANTIPHON_LIVEKIT_SECRET=SECRET,
        )  # fmt: skip
        assert told.code == 0, told
        assert json.loads(told.out)["room"] == "for nobody"
        await until(lambda: len(office.attendant.jobs) == 2)
        assert (office.attendant.jobs[1].agent, office.attendant.jobs[1].metadata) == ("shop", {"lead_id": "l7"})
        await office.close()


async def test_dispatch_makes_the_room_and_a_worker_without_a_name_takes_it_once(office: Office) -> None:
    before = len(office.attendant.jobs)
    await RoomService(office.server.settings).dispatch("made", "", '{"agent_id": "shop"}')
    await until(lambda: len(office.attendant.jobs) > before)
    async with service(office.server) as running:
        assert len(await running.agent_dispatch.list_dispatch("made")) == 1
    assert office.attendant.jobs[-1].agent == "shop"
    await office.close()


async def test_a_claimed_line_may_be_a_room_for_one_caller(office: Office) -> None:
    while True:  # the house has an ingress without rooms, too, which says so
        asked = control.encode(control.ClaimSession("shop", room=True))
        answer = await office.home.bus.request(subjects.claim(subjects.INGRESS), asked, 5)
        line = control.decode(answer, control.SessionOffer)
        if not line.refused:
            break
        assert "takes no rooms" in line.detail
    assert (line.url, line.session) == (office.server.url, "")
    heard = await office.home.record()
    room = rtc.Room()
    await room.connect(line.url, line.token)
    try:
        opened = await heard.until(SessionOpened)
        assert (opened.agent, opened.origin and opened.origin.room) == ("shop", line.room)
        assert room.local_participant.identity == "caller"
    finally:
        await room.disconnect()
    await office.close()


# --- how much is taken ------------------------------------------------------------------------------------------------


async def test_a_full_ingress_is_not_given_a_room_and_another_takes_it(tmp_path: Path, server: RoomServer) -> None:
    async with taking_rooms(tmp_path, server, capacity=4) as office:
        names = ["first", "second", "third", "fourth"]
        for name in names:  # all that it has room for: the server gives none above its own idea of a high load
            await open_room(server, name)
            await office.attendant.serves(name)
            await told_its_load()
        await open_room(server, "fifth")
        other = await one_more(office.home, server)
        await open_room(server, "sixth")
        await other.attendant.serves("sixth")
        assert office.attendant.rooms == names
        await office.home.stop(other.ingress, drain_s=0)
        await office.close()
        await told_its_load()
        await open_room(server, "seventh")  # there is room again
        await until(lambda: office.attendant.rooms == [*names, "seventh"])
        await office.close()


async def test_a_draining_ingress_takes_no_room_and_finishes_its_own(tmp_path: Path, server: RoomServer) -> None:
    async with taking_rooms(tmp_path, server) as office:
        heard = await office.home.record()
        await open_room(server, "mine")
        opened = await heard.until(SessionOpened)
        ingress = office.ingress
        stopping = asyncio.create_task(office.home.stop(ingress))
        await until(lambda: ingress.draining)
        await open_room(server, "late")
        await asyncio.sleep(dispatch.LOOK_EVERY_S * 3)
        assert office.attendant.rooms == ["mine"]
        assert not stopping.done()
        assert heard.all(SessionClosed) == []
        office.attendant.lines["mine"].hang_up()
        closed = await heard.until(SessionClosed)
        assert (closed.session, closed.reason) == (opened.session, "hangup")
        await stopping


async def test_a_room_that_cannot_be_served_frees_its_slot_and_says_why(
    tmp_path: Path, server: RoomServer, capsys: pytest.CaptureFixture[str]
) -> None:
    async with taking_rooms(tmp_path, server, capacity=1) as office:
        office.attendant.problem = Refused("nobody is at home")
        await open_room(server, "vain")
        ingress = office.ingress
        await until(lambda: ingress.counters["room_refused"])
        office.attendant.problem = None
        await told_its_load()
        await open_room(server, "again")
        await until(lambda: "again" in office.attendant.rooms)
        async with service(server) as running:
            [vain] = await running.agent_dispatch.list_dispatch("vain")
            assert [(job.state.status, job.state.error) for job in vain.state.jobs] in (
                [(api.JobStatus.JS_FAILED, "nobody is at home")],
                [],  # forgotten by the server once it is over
            )
        await office.close()


async def test_a_second_job_for_a_room_waits_until_the_first_is_over(office: Office) -> None:
    heard = await office.home.record()
    before = len(office.attendant.jobs)
    await open_room(office.server, "twice")
    opened = await heard.until(SessionOpened)
    await RoomService(office.server.settings).dispatch("twice", "", '{"agent_id": "shop"}')
    ingress = office.ingress
    await until(lambda: len(ingress.sessions) == 1 and len(office.attendant.jobs) == before + 1)
    ingress.sessions[opened.session].context.fail(RuntimeError("as a bug would"))
    again = await heard.until(SessionOpened, 2)
    assert (again.agent, again.session != opened.session) == ("shop", True)
    await office.close()


# --- a server that is away --------------------------------------------------------------------------------------------


async def test_it_registers_again_when_the_server_has_been_restarted_and_its_calls_live_on(
    tmp_path: Path, server: RoomServer
) -> None:
    async with taking_rooms(tmp_path, server) as office:
        heard = await office.home.record()
        await open_room(server, "before")
        await heard.until(SessionOpened)
        server.kill()
        await until(lambda: not office.rooms.registered.is_set())
        server.start()
        await asyncio.wait_for(office.rooms.registered.wait(), WITHIN_S)
        await open_room(server, "after")
        await heard.until(SessionOpened, 2)
        assert office.attendant.rooms == ["before", "after"]
        assert heard.all(SessionClosed) == []
        await office.close()


@pytest.mark.parametrize(
    ("url", "secret", "says"),
    [
        ("", "another-secret-of-thirty-two-letters", "refuses the key or the secret"),
        ("ws://127.0.0.1:9", SECRET, "cannot be reached"),
        ("http://127.0.0.1:{nats}", SECRET, "none of LiveKit's"),
    ],
)
async def test_a_server_that_cannot_be_used_is_told_once_and_other_callers_are_answered(
    tmp_path: Path, server: RoomServer, monkeypatch: pytest.MonkeyPatch, url: str, secret: str, says: str
) -> None:
    monkeypatch.setattr(dispatch, "PAUSE_S", 0.05)
    monkeypatch.setattr(registration, "WITHIN_S", 1.0)
    async with open_platform(tmp_path, [DESK]) as home:
        where = url.format(nats=urlsplit(home.nats).port) or server.url
        with capture_logs() as logs:
            home.rooms = rooms = LiveKitRooms(settings(where, secret), "desk", serve_room=Attendant())
            await home.add(subjects.INGRESS)
            await until(lambda: logs)
            call = await home.simulated_call("desk", turns=1)
            await call.until(SessionOpened)
        [warned] = [line for line in logs if line["log_level"] == "warning"]
        assert warned["url"] == where
        assert says in warned["cause"]
        assert secret not in str(logs)
        assert not rooms.registered.is_set()


# --- webhooks ---------------------------------------------------------------------------------------------------------


def posted(event: str, room: str, sid: str, number: str = "EV_1", secret: str = SECRET) -> tuple[str, str]:
    """A webhook as LiveKit posts it: the body, and what it is signed with."""
    body = json.dumps({"event": event, "id": number, "room": {"name": room, "sid": sid}}, separators=(", ", ":"))
    digest = base64.b64encode(hashlib.sha256(body.encode()).digest()).decode()
    return body, api.AccessToken(KEY, secret).with_sha256(digest).to_jwt()


async def test_a_webhook_that_the_room_is_finished_ends_its_session(office: Office) -> None:
    heard = await office.home.record()
    await open_room(office.server, "hooked")
    await heard.until(SessionOpened)
    async with service(office.server) as running:
        [room] = (await running.room.list_rooms(api.ListRoomsRequest(names=["hooked"]))).rooms
    ingress = office.ingress

    earlier = await receive(office.home.bus, *posted("room_finished", "hooked", "RM_of_yesterday", "EV_0"))
    assert (earlier.genuine, earlier.fresh) == (True, True)
    joined = await receive(office.home.bus, *posted("participant_joined", "hooked", room.sid, "EV_1"))
    assert (joined.genuine, joined.event) == (True, "participant_joined")
    assert office.attendant.rooms.count("hooked") - office.attendant.ended.count("hooked") == 1

    body, token = posted("room_finished", "hooked", room.sid, "EV_2")
    for forged in (
        (body, ""),
        (body, "Bearer " + token),
        (body.replace("hooked", "hacked"), token),
        (json.dumps(json.loads(body)), token),
        posted("room_finished", "hooked", room.sid, "EV_2", secret="another-secret-of-thirty-two-letters"),
        (body, api.AccessToken(KEY, SECRET).to_jwt()),
        (body + " " * 70_000, token),
        ("\ud800", token),
    ):
        with_lone_surrogates = forged[0].encode(errors="replace").decode()
        assert not (await receive(office.home.bus, with_lone_surrogates, forged[1])).genuine
    assert ingress.counters["forged_webhook"] == 8
    assert len(heard.all(SessionClosed)) == 0

    assert (await receive(office.home.bus, body, token)).fresh
    closed = await heard.until(SessionClosed)
    assert closed.reason == "room_closed"
    again = await receive(office.home.bus, body, token)
    assert (again.genuine, again.fresh) == (True, False)
    await office.close()


async def test_without_an_ingress_that_takes_rooms_a_webhook_is_told_so(tmp_path: Path) -> None:
    async with open_platform(tmp_path, [DESK]) as home:
        with pytest.raises(NoResponders):
            await receive(home.bus, "{}", "")
