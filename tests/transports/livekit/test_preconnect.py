"""Pre-connect audio: joined to received audio by correlation, and answered in a room."""

import asyncio

import numpy as np
import pytest

from antiphon_testing.event_recorder import SessionEvents as Facts
from antiphon_testing.room_caller import RoomCaller, enter_room, token
from antiphon_testing.speech import INSTALLED, WHY_NOT, recording
from schemas import subjects
from schemas.audio import CALLER_HZ, SAMPLE_BYTES
from schemas.events import SessionOpened, SpeechStarted, TranscriptFinal
from tests.transports.livekit.audio import WEBM, noise, opus, seconds, silent
from tests.transports.livekit.building import Building, opened
from transports.livekit.identities import session_of
from transports.livekit.preconnect import COMPARED, TOPIC, find_overlap, part_before
from transports.livekit.recording import decode

pytestmark = pytest.mark.realtime

GRACE_S = 1.0


def through_codec(pcm: bytes) -> bytes:
    return decode(opus(pcm), WEBM, {})


@pytest.mark.skipif(not INSTALLED, reason=WHY_NOT)
@pytest.mark.parametrize("begins_s", [0.8, 1.7, 2.3, 3.1, 4.0, 5.2])
def test_what_was_heard_is_found_in_the_recording(begins_s: float) -> None:
    said = recording("beckett")
    recorded = through_codec(said[: SAMPLE_BYTES * seconds(begins_s + 0.9)])
    heard = through_codec(said[SAMPLE_BYTES * seconds(begins_s) :])[: 2 * COMPARED * SAMPLE_BYTES]
    found = find_overlap(*(np.frombuffer(pcm, "<i2") for pcm in (recorded, heard)))
    if found is None:  # between two sentences
        quiet = np.frombuffer(heard, "<i2")[:COMPARED].astype(np.float64)
        assert np.sqrt((quiet**2).mean()) < 150
    else:
        assert abs(found - seconds(begins_s)) < seconds(0.02)


@pytest.mark.skipif(not INSTALLED, reason=WHY_NOT)
def test_other_speech_is_not_taken_for_the_same() -> None:
    other = np.frombuffer(recording("two_cities"), "<i2")
    said = np.frombuffer(recording("beckett"), "<i2")
    places = range(0, other.size - 2 * COMPARED, seconds(0.5))
    assert len(places) > 20
    assert all(find_overlap(said, other[start : start + 2 * COMPARED]) is None for start in places)


@pytest.mark.skipif(not INSTALLED, reason=WHY_NOT)
def test_other_words_of_the_same_voice_are_not_taken_for_the_same() -> None:
    said = np.frombuffer(recording("beckett"), "<i2")
    places = range(seconds(4), said.size - COMPARED, seconds(0.2))
    assert len(places) > 20
    assert all(find_overlap(said[: seconds(3)], said[start : start + 2 * COMPARED]) is None for start in places)


def test_without_a_sound_in_common_time_decides() -> None:
    assert part_before(noise(2.0), silent(1.0), seconds(0.5)) == noise(2.0)[: SAMPLE_BYTES * seconds(1.5)]
    assert part_before(noise(0.2), silent(1.0), seconds(0.5)) == b""
    assert part_before(b"", noise(1.0), 0) == b""


# --- in a room --------------------------------------------------------------------------------------------------------

ROOM = pytest.mark.asyncio(loop_scope="module")
PAUSE_S = 0.8


async def send(visitor: RoomCaller, data: bytes, mime: str, **attributes: str) -> None:
    """To the agent, as LiveKit's clients do."""
    writer = await visitor.room.local_participant.stream_bytes(
        "preconnect-buffer", topic=TOPIC, mime_type=mime, attributes=attributes,
        destination_identities=[visitor.agents[0].identity],
    )  # fmt: skip
    for start in range(0, len(data), 10_000):
        await writer.write(data[start : start + 10_000])
    await writer.aclose()


async def session(events: Facts, room: str) -> SessionOpened:
    await events.until(SessionOpened)
    [found] = [event for event in events.all(SessionOpened) if opened(event, room)]
    events.only(found.session)
    return found


@ROOM
@pytest.mark.parametrize("mime", [WEBM, "audio/pcm"])
async def test_what_was_said_before_the_agent_came_is_answered_first(building: Building, mime: str) -> None:
    events, room = await building.home.record(), building.room()
    async with enter_room(building.server.url, token(room), microphone=False) as visitor:
        await visitor.open_microphone(preconnect=True)
        await visitor.until(lambda: bool(visitor.agents) and visitor.state == "")
        await asyncio.sleep(0.5)  # the ear is there by now
        early, late = noise(0.5), noise(0.4, seed=2)
        visitor.say(late)
        await asyncio.sleep(0.6)
        recorded = early + silent(PAUSE_S) + late + silent(0.1)
        data, attributes = (
            (opus(recorded), {}) if mime == WEBM else (recorded, {"sampleRate": "16000", "channels": "1"})
        )
        await send(visitor, data, mime, **attributes)
        said = await session(events, room)
        await events.until(TranscriptFinal, 2)
        begun = [event.start_sample for event in events.all(SpeechStarted)]
        assert len(begun) == 2
        assert begun[1] - begun[0] == pytest.approx(seconds(0.5 + PAUSE_S), abs=seconds(0.1))
        assert said.started_us + begun[0] * 1_000_000 // CALLER_HZ < said.time - 1_500_000
        await asyncio.sleep(0.5)
        assert len(events.all(SpeechStarted)) == 2


@ROOM
async def test_a_recording_that_cannot_be_read_costs_no_call(building: Building) -> None:
    events, room = await building.home.record(), building.room()
    async with enter_room(building.server.url, token(room), microphone=False) as visitor:
        await visitor.open_microphone(preconnect=True)
        await visitor.until(lambda: bool(visitor.agents))
        session_id = session_of(visitor.agents[0].identity)
        subject = subjects.control(session_id, subjects.INGRESS, "pre_connect_audio")
        for rubbish in (b"", b"\xc1", b"\x81\xa7session\xa2\xff\xfe", b"\x91" * 100_000):
            building.home.bus.publish(subject, rubbish)
        await send(visitor, b"rubbish" * 1_000, WEBM)
        await session(events, room)
        counters = building.home.ingress.status().counters
        assert (counters["bad_control"], counters["bad_recording"]) == (4, 1)
        visitor.say(noise(0.5))
        await events.until(TranscriptFinal)
