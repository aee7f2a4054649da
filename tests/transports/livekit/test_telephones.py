"""Callers who come by telephone: participants whom LiveKit's gateways bring into a room."""

import pytest

from antiphon_testing.room_caller import close, enter_room, token
from schemas.events import SessionClosed, TranscriptFinal, TurnEnded
from tests.transports.livekit.building import Building, hum

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.realtime]

GRACE_S = 300.0  # longer than anything is waited for here


@pytest.mark.parametrize("kind", ["sip", "connector"])
async def test_who_calls_by_telephone_is_heard_and_answered(building: Building, kind: str) -> None:
    async with building.call(kind=kind) as call:
        await call.heard.until(TurnEnded)
        call.visitor.say(hum(0.4))
        await call.visitor.until(lambda: call.visitor.final("agent") == ["Hello there.", "You said one."])
        assert call.heard.all(TranscriptFinal)


async def test_a_telephone_that_is_hung_up_is_not_waited_for(building: Building) -> None:
    async with building.call(kind="sip") as call:
        await call.heard.until(TurnEnded)
    assert (await call.heard.until(SessionClosed)).reason == "hangup"


@pytest.mark.parametrize("kind", ["egress", "ingress"])
async def test_a_recorder_and_a_stream_are_not_taken_for_the_caller(building: Building, kind: str) -> None:
    name, streams = building.room(), kind == "ingress"  # a recorder has no voice
    async with enter_room(building.server.url, token(name, "machine", kind=kind), microphone=streams) as machine:
        machine.say(hum(2.0))
        async with building.call(name) as call:
            await call.heard.until(TurnEnded)
            call.visitor.say(hum(0.4))
            await call.visitor.until(lambda: call.visitor.final("caller") == ["one"])
            await machine.until(lambda: machine.saying is not streams)  # it was loud meanwhile
            await close(building.server.url, name)
            assert (await call.heard.until(SessionClosed)).reason == "room_closed"
