"""Processes that die in the middle of a call in a room: the call goes on, or the people in the room get a new one."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

pytest.importorskip("livekit", reason="the extra livekit is not installed: pip install -e '.[livekit]'")

from livekit import api

from antiphon_testing.agents import scripted_agent
from antiphon_testing.processes import Platform, antiphon_up, until
from antiphon_testing.room_caller import enter_room, token
from antiphon_testing.room_server import binary
from composition.room_server import RoomServer
from schemas import events, subjects
from transports.livekit.identities import agent_identity, ingress_identity

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.realtime]

WITHIN_S = 60.0
LOOK_EVERY_S = 0.2
ECHO = scripted_agent("receptionist", greeting="Hello there.")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def home(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Platform]:
    binary()  # skips where there is none
    async with antiphon_up(tmp_path_factory.mktemp("platform"), "--livekit") as running:
        await running.set(ECHO)
        yield running


async def held(home: Platform) -> set[str]:
    """The sessions that any worker has."""
    return {session.session for worker in await home.workers() for session in worker.sessions}


async def inside(keys: dict[str, str], url: str, room: str) -> list[str]:
    """Who is in a room, ingress included, which nobody sees there."""
    async with api.LiveKitAPI(url, keys["key"], keys["secret"]) as server:
        told = await server.room.list_participants(api.ListParticipantsRequest(room=room))
        return sorted(one.identity for one in told.participants)


@pytest.mark.parametrize("who", [(subjects.INGRESS,), (subjects.INGRESS, subjects.EGRESS)])
async def test_a_room_gets_its_agent_again_when_a_process_of_its_call_has_died(
    home: Platform, who: tuple[str, ...]
) -> None:
    """As when the SDK panics, which takes its process with it."""
    room = "-".join(who)
    keys, url = RoomServer.keys(home.data), home.up.lines()[0]["livekit"]
    known = len(home.events.sessions)
    async with enter_room(url, token(room, key=keys["key"], secret=keys["secret"])) as visitor:
        await until(lambda: len(home.events.sessions) > known, WITHIN_S)
        first = home.events.sessions[known]
        await home.events.until(first, events.PlaybackStarted)

        for stage in who:
            [worker] = await home.workers(stage)
            os.kill(worker.pid, signal.SIGABRT)

        await until(lambda: len(home.events.sessions) > known + 1, WITHIN_S)
        second = home.events.sessions[known + 1]
        opened = await home.events.until(second, events.SessionOpened)
        assert opened.origin
        assert opened.origin.room == room
        await visitor.until(lambda: "Hello there." in visitor.final(f"agent-{second}"))

        async with asyncio.timeout(WITHIN_S):
            while await held(home) != {second}:
                await asyncio.sleep(LOOK_EVERY_S)
            while await inside(keys, url, room) != sorted(["caller", agent_identity(second), ingress_identity(second)]):
                await asyncio.sleep(LOOK_EVERY_S)


async def test_a_call_in_a_room_goes_on_when_the_process_that_plays_the_agent_has_died(home: Platform) -> None:
    keys, url = RoomServer.keys(home.data), home.up.lines()[0]["livekit"]
    known = len(home.events.sessions)
    async with enter_room(url, token("egress", key=keys["key"], secret=keys["secret"])) as visitor:
        await until(lambda: len(home.events.sessions) > known, WITHIN_S)
        session = home.events.sessions[known]
        await home.events.until(session, events.PlaybackStarted)
        [worker] = await home.workers(subjects.EGRESS)
        os.kill(worker.pid, signal.SIGABRT)

        changed = await home.events.until(session, events.OwnerChanged, within_s=WITHIN_S)
        assert (changed.stage, changed.worker != worker.id) == (subjects.EGRESS, True)
        ended = await home.events.until(session, events.TurnEnded, within_s=WITHIN_S)
        assert (ended.heard, ended.interrupted) == ("Hello there.", False)
        await visitor.until(lambda: "Hello there." in visitor.final(f"agent-{session}"))
        people = sorted(["caller", agent_identity(session), ingress_identity(session)])
        async with asyncio.timeout(WITHIN_S):
            while await inside(keys, url, "egress") != people:
                await asyncio.sleep(LOOK_EVERY_S)
        assert not home.events.of(session, events.SessionClosed)
        assert home.events.sessions[known:] == [session]
