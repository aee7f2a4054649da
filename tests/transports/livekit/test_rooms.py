"""A call in a real room: what the caller hears and sees there, who is heard, and when it is over."""

import asyncio

import pytest
from livekit import api, rtc

from antiphon_testing.agents import scripted_agent
from antiphon_testing.room_caller import enter_room, token
from antiphon_testing.room_server import KEY, SECRET
from schemas.audio import CALLER_HZ
from schemas.events import (
    DtmfReceived,
    PlaybackEnded,
    PlaybackStarted,
    SessionClosed,
    SpeechEnded,
    SpeechStarted,
    TranscriptFinal,
    TurnEnded,
    TurnStarted,
)
from tests.transports.livekit.building import ECHO, Building, hum
from transports.livekit import room_reconciler

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.realtime]

GRACE_S = 1.0
WITHIN_S = 20.0


async def test_a_visitor_is_greeted_and_answered_and_sees_both_sides(building: Building) -> None:
    async with building.call() as call:
        visitor = call.visitor
        await call.heard.until(TurnEnded)
        visitor.say(hum(0.4))
        await call.heard.until(TurnEnded, 2)
        await visitor.until(lambda: len(visitor.final("agent")) == 2 and visitor.silent_for(0.2))
        assert visitor.final("agent") == ["Hello there.", "You said one."]
        assert visitor.final("caller") == ["one"]
        assert [one.text for one in visitor.captions if one.speaker == "caller"] == ["one", "one"]  # interim, final
        assert len({one.segment for one in visitor.captions}) == 3
        assert visitor.states == ["listening", "thinking", "speaking"] * 2 + ["listening"]
        await visitor.until(lambda: visitor.loud_s >= 1.1)  # the last of it is on its way
        assert visitor.loud_s <= 1.4  # two answers of 0.6 s, whole
        assert [agent.identity for agent in visitor.agents] == [f"agent-{call.opened.session}"]
    assert (await call.heard.until(SessionClosed)).reason == "hangup"


async def test_the_agent_falls_silent_in_the_room_when_it_is_talked_over(building: Building) -> None:
    await building.home.set(
        scripted_agent("echo", tts={"duration_ms": 8_000}, greeting="A long story.", stt={"texts": ["stop"]})
    )
    try:
        async with building.call() as call:
            visitor = call.visitor
            await visitor.until(lambda: visitor.loud_s >= 1.0)  # the SDK draws out the first moments, and catches up
            visitor.say(hum(0.4))
            ended = await call.heard.until(PlaybackEnded)
            await visitor.until(lambda: bool(visitor.final("agent")))
            assert ended.interrupted
            assert ended.heard_ms < 4_000
            assert abs(1000 * visitor.loud_s - ended.heard_ms) <= 60
            assert visitor.final("agent")[0] == call.heard.all(TurnEnded)[0].heard
    finally:
        await building.home.set(ECHO)


async def test_time_goes_on_while_the_caller_is_muted_or_has_no_microphone(building: Building) -> None:
    async with building.call() as call:
        visitor = call.visitor
        await call.heard.until(TurnEnded)
        assert visitor.track
        visitor.track.mute()
        await asyncio.sleep(0.5)
        visitor.track.unmute()
        await visitor.close_microphone()
        await asyncio.sleep(0.7)
        await visitor.open_microphone()
        await asyncio.sleep(0.3)
        visitor.say(hum(0.4))
        started = await call.heard.until(SpeechStarted)
        behind_s = (started.time - call.opened.started_us) / 1e6 - started.start_sample / CALLER_HZ
        assert -0.1 < behind_s < 0.5


async def test_an_utterance_ends_when_its_microphone_is_closed(building: Building) -> None:
    async with building.call() as call:
        await call.heard.until(TurnEnded)
        call.visitor.say(hum(60))
        await call.heard.until(SpeechStarted)
        await call.visitor.close_microphone()
        await call.heard.until(SpeechEnded)
        assert (await call.heard.until(TranscriptFinal)).text == "one"


async def test_another_device_of_the_caller_is_heard(building: Building) -> None:
    async with building.call() as call:
        await call.heard.until(TurnEnded)
        await call.visitor.open_microphone()  # the old one stays published, as clients leave it for a moment
        call.visitor.say(hum(0.4))
        assert (await call.heard.until(TranscriptFinal)).text == "one"


async def test_who_comes_back_within_the_grace_goes_on_with_the_call(building: Building) -> None:
    async with building.call() as call:
        await call.heard.until(TurnEnded)
    async with enter_room(building.server.url, token(call.name)) as again:
        await again.until(lambda: bool(again.agents))
        await asyncio.sleep(2 * GRACE_S)
        again.say(hum(0.4))
        await call.heard.until(TranscriptFinal)
        assert not call.heard.all(SessionClosed)
    assert (await call.heard.until(SessionClosed)).reason == "hangup"


async def test_who_comes_back_after_the_grace_gets_an_agent_again(
    building: Building, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room_reconciler, "LOOK_EVERY_S", 1.0)
    async with building.call() as call:
        await call.heard.until(TurnEnded)
    assert (await call.heard.until(SessionClosed)).reason == "hangup"
    async with enter_room(building.server.url, token(call.name)) as again:  # the room is still there: LiveKit asks once
        await again.until(lambda: again.final("agent") == ["Hello there."], WITHIN_S)
        assert again.agents[0].identity != f"agent-{call.opened.session}"


async def test_of_two_people_the_first_is_heard_until_they_leave(building: Building) -> None:
    async with building.call() as call, enter_room(building.server.url, token(call.name, "second")) as second:
        await call.heard.until(TurnEnded)
        second.say(hum(0.4))
        await second.until(lambda: not second.saying)
        call.visitor.say(hum(0.4))
        await call.heard.until(TurnEnded, 2)
        assert len(call.heard.all(SpeechStarted)) == 1
        await call.visitor.room.disconnect()
        await second.until(lambda: "caller" not in second.room.remote_participants)
        async with asyncio.timeout(WITHIN_S):
            while len(call.heard.all(SpeechStarted)) < 2:
                second.say(hum(0.4))  # what a microphone says while it is asked for again is lost
                await asyncio.sleep(2)
        await call.heard.until(TurnEnded, 3)
        await second.until(lambda: second.final("second") == ["two"])


async def test_a_room_without_a_microphone_is_served_by_what_is_typed(building: Building) -> None:
    async with building.call(microphone=False) as call:
        await call.heard.until(TurnEnded)
        await call.visitor.room.local_participant.send_text("Good evening", topic="lk.chat")
        started = await call.heard.until(TurnStarted, 2)
        assert started.text == "Good evening"
        await call.heard.until(TurnEnded, 2)
        await call.visitor.until(lambda: "You said Good evening." in call.visitor.final("agent"))
    assert (await call.heard.until(SessionClosed)).reason == "hangup"


async def test_keys_of_a_telephone_are_facts(building: Building) -> None:
    async with building.call() as call:
        for code, digit in ((4, "4"), (11, "#")):
            await call.visitor.room.local_participant.publish_dtmf(code=code, digit=digit)
        await call.heard.until(DtmfReceived, 2)
        assert [key.digit for key in call.heard.all(DtmfReceived)] == ["4", "#"]


async def test_who_shows_only_a_picture_is_greeted_and_never_left_hanging(building: Building) -> None:
    async with building.call(microphone=False) as call:
        source = rtc.VideoSource(64, 64)
        track = rtc.LocalVideoTrack.create_video_track("camera", source)
        await call.visitor.room.local_participant.publish_track(track)
        await call.heard.until(TurnEnded)
        assert not call.heard.all(SpeechStarted)
    assert (await call.heard.until(SessionClosed)).reason == "hangup"


async def test_an_agent_that_comes_first_greets_whoever_comes(building: Building) -> None:
    name = building.room()
    heard = await building.home.record()
    async with api.LiveKitAPI(building.server.url, KEY, SECRET) as server:
        await server.room.create_room(api.CreateRoomRequest(name=name))
        await until_in_room(server, name, 1)
    await asyncio.sleep(0.5)
    assert not heard.all(PlaybackStarted)
    async with building.call(name) as call:
        await call.visitor.until(lambda: call.visitor.final("agent") == ["Hello there."])
        await call.visitor.until(lambda: call.visitor.loud_s >= 0.55)  # the last of it is on its way


@pytest.mark.parametrize("who", ["room", "agent"])
async def test_a_session_ends_with_its_room_or_its_agent(building: Building, who: str) -> None:
    async with building.call() as call, api.LiveKitAPI(building.server.url, KEY, SECRET) as server:
        await call.heard.until(PlaybackStarted)
        if who == "room":
            await server.room.delete_room(api.DeleteRoomRequest(room=call.name))
        else:
            agent = api.RoomParticipantIdentity(room=call.name, identity=f"agent-{call.opened.session}")
            await server.room.remove_participant(agent)
        closed = await call.heard.until(SessionClosed)
        assert closed.reason == ("room_closed" if who == "room" else "egress_failed")
        assert who == "room" or "participant_removed" in closed.detail


async def until_in_room(server: api.LiveKitAPI, name: str, number: int) -> None:
    async with asyncio.timeout(WITHIN_S):
        while True:
            there = await server.room.list_participants(api.ListParticipantsRequest(room=name))
            if len(there.participants) >= number:
                return
            await asyncio.sleep(0.05)
