"""The network to the rooms or to the bus is cut, for a while or for good, or a token has run out.

A call lives on or ends by itself, nothing of it stays, and whoever waits in the room gets an agent again.
"""

import asyncio
import os
import signal
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
from livekit import rtc

from antiphon_testing.bus import server_pid
from antiphon_testing.platform import Platform, open_platform
from antiphon_testing.processes import running, until
from antiphon_testing.room_caller import enter_room, token
from antiphon_testing.room_server import room_server
from bus import journal
from bus.errors import Unreachable
from schemas import events, subjects
from schemas.control import RoomAccess
from schemas.events import SessionClosed, SessionOpened, TranscriptFinal, TurnEnded
from tests.kit.network import BUS, ROOMS, Way, elsewhere, needs_network
from tests.transports.livekit.building import ECHO, Building, InRoom, hum
from transports.livekit import room_reconciler, tokens
from transports.livekit.room_input import serve_room
from transports.livekit.room_output import open_room_output
from transports.livekit.rooms import LiveKitRooms
from transports.livekit.tokens import Tokens

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.realtime]

GRACE_S = 10.0  # as in the product
WITHIN_S = 40.0
NOTICED_WITHIN_S = 15.0  # it takes 6 to 9 s; the SDK and the server take 20
SHORT_CUT_S = 3.0  # a cut is one after 6 s
LEEWAY = timedelta(minutes=1)  # of the server, for clocks that differ


@pytest.fixture(autouse=True)
def in_haste(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room_reconciler, "LOOK_EVERY_S", 1.0)


async def is_answered(call: InRoom, turn: int) -> None:
    """What is said is heard, sooner or later, and answered."""
    finals = len(call.heard.all(TranscriptFinal))
    async with asyncio.timeout(WITHIN_S):
        while len(call.heard.all(TranscriptFinal)) == finals:
            call.visitor.say(hum(0.4))
            await asyncio.sleep(1)
    await call.heard.until(TurnEnded, turn)
    assert not call.heard.all(SessionClosed)


async def has_another_agent(call: InRoom, home: Platform) -> None:
    """One, and nothing of the session before."""
    visitor, before = call.visitor, f"agent-{call.opened.session}"
    await visitor.until(lambda: bool(visitor.agents) and visitor.agents[-1].identity != before, WITHIN_S)
    await until(lambda: len(home.ingress.sessions) == 1, WITHIN_S)
    await visitor.until(
        lambda: [one.identity for one in visitor.agents] == [f"agent-{one}" for one in home.ingress.sessions]
    )


async def kept_end(home: Platform, session: str) -> SessionClosed:
    """The last event of a session as the journal has it: who comes back to the bus late does not hear it."""
    async with asyncio.timeout(WITHIN_S):
        while True:
            with suppress(Unreachable):  # the bus is only just coming back
                for event in map(events.decode, await journal.read(home.bus, session)):
                    if isinstance(event, SessionClosed):
                        return event
            await asyncio.sleep(0.1)


@dataclass
class Call:
    """As egress has one."""

    room: RoomAccess | None
    coordinator: str = ""
    failures: list[BaseException] = field(default_factory=list)

    def fail(self, failure: BaseException) -> None:
        self.failures.append(failure)

    def send_pre_connect_audio(self, pcm: bytes) -> None: ...

    def send(self, worker: str, pcm: bytes, rate: int, **more: int) -> None: ...


# --- the network ------------------------------------------------------------------------------------------------------


async def test_a_cut_of_some_seconds_is_no_end(building: Building) -> None:
    async with building.call() as call:
        await call.heard.until(TurnEnded)
        building.server.freeze()
        await asyncio.sleep(SHORT_CUT_S)
        building.server.thaw()
        await is_answered(call, 2)


async def test_a_cut_that_stays_ends_the_call_before_the_sdk_says_so_and_the_room_is_taken_up_again(
    building: Building,
) -> None:
    elsewhere = building.room()
    alone = Call(RoomAccess(building.server.url, Tokens(building.server.settings).egress_token(elsewhere, "s1")))
    async with open_room_output(alone), building.call() as call:
        await call.heard.until(TurnEnded)
        building.server.freeze()
        try:
            assert (await call.heard.until(SessionClosed)).reason in ("room_lost", "egress_failed")
            await until(lambda: bool(alone.failures), WITHIN_S)
            assert "cut off" in str(alone.failures[0])
            assert (
                call.visitor.room.connection_state == rtc.ConnectionState.CONN_CONNECTED
            )  # for all that the SDK knows
            await until(lambda: not any(worker.sessions for worker in building.home.all_workers), WITHIN_S)
        finally:
            building.server.thaw()
        await has_another_agent(call, building.home)


@needs_network
@pytest.mark.parametrize("way", ["out", "in"])
async def test_an_agent_that_is_cut_off_one_way_gives_the_call_up_and_the_room_gets_another(
    tmp_path: Path, way: Way
) -> None:
    with elsewhere() as far, room_server(tmp_path, ROOMS) as server:
        rooms = LiveKitRooms(server.settings, ECHO.id, serve_room=partial(serve_room, grace_s=GRACE_S))
        async with open_platform(tmp_path, [ECHO], rooms=rooms, host=BUS) as home:
            await home.stop(home.workers[subjects.EGRESS][0])
            with running(tmp_path, "run", "egress", "--json", "--nats", home.nats, inside=far.name) as egress:
                await egress.ready()
                async with Building(home, server, rooms).call() as call:
                    await call.heard.until(TurnEnded)
                    far.cut(way)
                    closed = await call.heard.until(SessionClosed, within_s=NOTICED_WITHIN_S)
                    assert closed.reason == "egress_failed"
                    assert "cut off" in closed.detail
                    far.mend(way)
                    await has_another_agent(call, home)
                    assert egress.code is None


async def test_who_is_cut_off_from_the_bus_gives_the_room_up_and_takes_it_up_again(tmp_path: Path) -> None:
    with room_server(tmp_path) as server:
        rooms = LiveKitRooms(server.settings, ECHO.id, serve_room=partial(serve_room, grace_s=GRACE_S))
        async with open_platform(tmp_path, [ECHO], rooms=rooms) as home, Building(home, server, rooms).call() as call:
            await call.heard.until(TurnEnded)
            nats = server_pid(tmp_path)
            os.kill(nats, signal.SIGSTOP)
            try:
                await until(lambda: not any(worker.sessions for worker in home.all_workers), WITHIN_S)
                await call.visitor.until(lambda: not call.visitor.agents)
            finally:
                os.kill(nats, signal.SIGCONT)
            assert (await kept_end(home, call.opened.session)).reason.endswith("_lost")
            await has_another_agent(call, home)


# --- tokens -----------------------------------------------------------------------------------------------------------


async def test_an_agent_whose_token_has_run_out_is_refused_and_the_call_says_why(
    building: Building, monkeypatch: pytest.MonkeyPatch
) -> None:
    await until(lambda: not building.home.ingress.sessions, WITHIN_S)  # those of the tests before
    refused = building.home.ingress.counters["room_refused"]
    heard = await building.home.record()
    with monkeypatch.context() as late:
        late.setattr(tokens, "EGRESS_TOKEN_FOR", -2 * LEEWAY)
        async with enter_room(building.server.url, token(building.room())) as visitor:
            closed = await heard.until(SessionClosed)
            assert closed.reason == "egress_failed"
            assert "token is expired" in closed.detail
            assert "eyJ" not in closed.detail  # as tokens begin: no event bears one
            await until(lambda: building.home.ingress.counters["room_refused"] > refused, WITHIN_S)
            late.undo()
            await heard.until(SessionOpened)
            await visitor.until(lambda: len(visitor.agents) == 1)


async def test_a_token_that_runs_out_in_the_middle_of_a_call_changes_nothing(
    building: Building, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokens, "EGRESS_TOKEN_FOR", timedelta(seconds=8) - LEEWAY)
    async with building.call() as call:
        await call.heard.until(TurnEnded)
        same = Tokens(building.server.settings).egress_token(call.name, "another")
        async with asyncio.timeout(WITHIN_S):
            while await is_let_in(building.server.url, same):
                await asyncio.sleep(1)
        await is_answered(call, 2)
        building.server.kill()
        building.server.start()
        await is_answered(call, 3)


async def is_let_in(url: str, told: str) -> bool:
    room = rtc.Room()
    try:
        await room.connect(url, told)
    except rtc.ConnectError:
        return False
    await room.disconnect()
    return True
