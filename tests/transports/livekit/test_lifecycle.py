"""What breaks around a room: no session and no participant is left behind, and nothing hangs. In this order: the last
kill the server."""

import asyncio
import signal
from pathlib import Path

import pytest
from aiohttp import ClientSession

from antiphon_testing.processes import Running, until
from antiphon_testing.room_caller import enter_room
from gateway.serve import serve as gateway
from schemas import control, subjects
from schemas.control import RoomSessionOver
from schemas.events import PlaybackStarted, SessionClosed, SessionOpened, TranscriptFinal, TurnEnded
from tests.transports.livekit.building import ECHO, Building, hum

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.realtime]

GRACE_S = 10.0  # as in the product
WITHIN_S = 30.0


async def test_an_agent_whose_process_was_killed_does_not_stay_in_the_room(building: Building, tmp_path: Path) -> None:
    home = building.home
    await home.stop(home.workers[subjects.EGRESS][0], drain_s=0)
    egress = Running(tmp_path, "run", "egress", "--nats", home.nats)
    try:
        async with building.call() as call:
            await call.heard.until(PlaybackStarted)
            egress.send(signal.SIGKILL)
            assert (await call.heard.until(SessionClosed)).reason == "egress_lost"
            await call.visitor.until(lambda: not call.visitor.agents)
            await until(lambda: home.ingress.counters["agent_dismissed"] == 1, WITHIN_S)
    finally:
        egress.kill()
        await home.add(subjects.EGRESS)


async def test_who_hangs_up_at_the_gateway_is_not_waited_for(building: Building) -> None:
    heard, over = await building.home.record(), []
    await building.home.bus.subscribe(subjects.rooms_over(), lambda message: over.append(message.data))
    asked = {"agent": ECHO.id, "transport": "livekit"}
    async with gateway(building.home.bus, "127.0.0.1", 0) as url, ClientSession(url) as http:
        told = await (await http.post("v1/sessions", json=asked)).json()
        async with enter_room(told["url"], told["token"]) as visitor:
            opened = await heard.until(SessionOpened)
            heard.only(opened.session)
            async with http.delete(told["hangup"]) as answer:
                assert answer.status == 204
            assert (await heard.until(SessionClosed)).reason == "hangup"  # though they are in the room still
            await visitor.until(lambda: not visitor.agents)
            await until(lambda: len(over) == 1, WITHIN_S)  # so that nobody takes the room up again
            assert control.decode(over[0], RoomSessionOver).people == (visitor.room.local_participant.sid,)


async def test_a_call_lives_on_when_its_server_is_killed_and_another_takes_its_place(building: Building) -> None:
    async with building.call() as call:
        await call.heard.until(TurnEnded)
        building.server.kill()
        building.server.start()
        async with asyncio.timeout(WITHIN_S):
            while not call.heard.all(TranscriptFinal):
                call.visitor.say(hum(0.4))  # what is said while the connection is made anew is lost
                await asyncio.sleep(1)
        await call.heard.until(TurnEnded, 2)
        assert not call.heard.all(SessionClosed)


async def test_who_enters_before_ingress_has_found_a_new_server_is_served_too(building: Building) -> None:
    building.server.kill()
    building.server.start()
    async with building.call() as call:
        await call.heard.until(TurnEnded)


async def test_a_server_that_stays_away_ends_its_calls(building: Building) -> None:
    async with asyncio.timeout(WITHIN_S):
        await building.rooms.registered.wait()  # at the server that has just taken another's place
    async with building.call() as call:
        await call.heard.until(TurnEnded)
        building.server.kill()
        assert (await call.heard.until(SessionClosed)).reason in ("room_lost", "egress_failed")
    await until(lambda: not building.home.ingress.sessions, WITHIN_S)  # nor is one of those before left
