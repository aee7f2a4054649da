"""What was said before anybody listened: read as clients send it, joined to what was heard, and answered."""

import asyncio
import io
import random
import time
from collections.abc import Iterable
from contextlib import suppress

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from schemas import subjects
from schemas.audio import CALLER_HZ, SAMPLE_BYTES
from schemas.events import SessionOpened, SpeechStarted, TranscriptFinal
from tests.kit.platform import Heard as Facts
from tests.kit.room_caller import Visitor, token, visit
from tests.kit.speech import INSTALLED, WHY_NOT, recording
from tests.transports.livekit.building import Building, opened
from transports.livekit import timeline
from transports.livekit.identities import session_of
from transports.livekit.preconnect import COMPARED, TOPIC, find_overlap, part_before
from transports.livekit.recording import MAX_S, BadRecording, decode
from transports.livekit.timeline import Timeline

pytestmark = pytest.mark.realtime

GRACE_S = 1.0
WEBM = "audio/webm;codecs=opus"


def seconds(amount: float) -> int:
    return int(amount * CALLER_HZ)


def noise(amount_s: float, seed: int = 1) -> bytes:
    """Sound of which no part is like another; the scripted recogniser takes it for speech."""
    return bytes((np.random.default_rng(seed).normal(0, 3_000, seconds(amount_s))).astype("<i2"))


def silent(amount_s: float) -> bytes:
    return bytes(SAMPLE_BYTES * seconds(amount_s))


def opus(pcm: bytes, container: str = "webm") -> bytes:
    """As a browser records it."""
    made = io.BytesIO()
    with av.open(made, "w", format=container) as out:
        stream = out.add_stream("libopus", rate=48_000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.frombuffer(pcm, "<i2").reshape(1, -1), format="s16", layout="mono")
        frame.sample_rate = CALLER_HZ
        resampler = av.AudioResampler(format="flt", layout="mono", rate=48_000, frame_size=960)
        for piece in (*resampler.resample(frame), *resampler.resample(None)):
            out.mux(stream.encode(piece))
        out.mux(stream.encode(None))
    return made.getvalue()


def alike(one: bytes, other: bytes) -> float:
    """Correlation of two sounds that begin together, 30 ms at most apart."""
    size = min(len(one), len(other)) // SAMPLE_BYTES
    a, b = (np.frombuffer(pcm, "<i2")[:size].astype(np.float64) for pcm in (one, other))
    scores = [np.corrcoef(a[shift:], b[: size - shift])[0, 1] for shift in range(0, seconds(0.03), 4)]
    scores += [np.corrcoef(b[shift:], a[: size - shift])[0, 1] for shift in range(0, seconds(0.03), 4)]
    return float(max(scores))


# --- reading ----------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not INSTALLED, reason=WHY_NOT)
@pytest.mark.parametrize("cut", [0, 900])
def test_what_a_browser_records_is_read_even_without_its_end(cut: int) -> None:
    said = recording("beckett")[: SAMPLE_BYTES * seconds(3)]
    data = opus(said)
    read = decode(data[: len(data) - cut], WEBM, {})
    assert abs(len(read) - len(said)) < SAMPLE_BYTES * seconds(0.5)
    assert alike(read, said) > 0.9


def test_what_browsers_of_telephones_record_is_read() -> None:
    assert len(decode(opus(noise(2), "mp4"), "video/mp4", {})) > SAMPLE_BYTES * seconds(1.9)


@pytest.mark.parametrize(("rate", "channels"), [(16_000, 1), (24_000, 1), (48_000, 2)])
def test_samples_are_read_as_they_are_said_to_be(rate: int, channels: int) -> None:
    wave = (10_000 * np.sin(np.arange(rate) * 2 * np.pi * 300 / rate)).astype("<i2")
    read = decode(np.repeat(wave, channels).tobytes(), "", {"sampleRate": str(rate), "channels": str(channels)})
    assert abs(len(read) // SAMPLE_BYTES - CALLER_HZ) < seconds(0.02)
    spectrum = np.abs(np.fft.rfft(np.frombuffer(read, "<i2")))
    assert abs(int(np.argmax(spectrum)) * CALLER_HZ / (len(read) // SAMPLE_BYTES) - 300) < 3


def test_it_is_no_longer_than_clients_record() -> None:
    assert len(decode(noise(MAX_S + 5), "", {"sampleRate": "16000", "channels": "1"})) == SAMPLE_BYTES * seconds(MAX_S)


@pytest.mark.parametrize(
    ("data", "mime", "attributes", "why"),
    [
        (b"", WEBM, {}, "cannot be read"),
        (b"rubbish" * 100, WEBM, {}, "cannot be read"),
        (bytes(100), "", {}, "not given"),
        (bytes(100), "", {"sampleRate": "loud", "channels": "1"}, "not given"),
        (bytes(100), "audio/pcm", {"sampleRate": "16000", "channels": "7"}, "7 channels"),
        (bytes(100), "audio/pcm", {"sampleRate": "1", "channels": "1"}, "1 Hz"),
        (b"x", "", {"sampleRate": "16000", "channels": "1"}, "empty"),
        (bytes(100), "image/png", {}, "none of"),
    ],
)
def test_rubbish_is_refused(data: bytes, mime: str, attributes: dict[str, str], why: str) -> None:
    with pytest.raises(BadRecording, match=why):
        decode(data, mime, attributes)


@given(st.integers(0, 2**32), st.integers(1, 40))
def test_a_broken_recording_is_read_or_refused(seed: int, breaks: int) -> None:
    data = bytearray(opus(noise(0.5)))
    chance = random.Random(seed)
    for _ in range(breaks):
        data[chance.randrange(len(data))] = chance.randrange(256)
    with suppress(BadRecording):
        assert len(decode(bytes(data), WEBM, {})) % SAMPLE_BYTES == 0


# --- joining ----------------------------------------------------------------------------------------------------------


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


# --- the line ---------------------------------------------------------------------------------------------------------


class Heard:
    """A line that keeps what it hears."""

    session = "s1"

    def __init__(self) -> None:
        self.pcm = bytearray()
        self.earlier = 0

    def audio(self, pcm: bytes) -> None:
        assert 0 < len(pcm) <= 3_200
        self.pcm += pcm

    def prepend_audio(self, pcm: bytes) -> None:
        self.earlier += len(pcm) // SAMPLE_BYTES
        self.pcm += pcm

    def text(self, text: str) -> None: ...

    def dtmf(self, digit: str) -> None: ...

    def hang_up(self, reason: str = "hangup") -> None: ...

    @property
    def samples(self) -> NDArray[np.int16]:
        return np.frombuffer(bytes(self.pcm), "<i2")


def frames(pcm: bytes) -> Iterable[bytes]:
    return (pcm[start : start + 640] for start in range(0, len(pcm), 640))


@pytest.mark.parametrize("recording_first", [True, False])
async def test_a_recording_comes_before_what_is_heard(recording_first: bool) -> None:
    said = noise(4.0)
    line = Heard()
    times = Timeline(line)
    recorded, live = said[: SAMPLE_BYTES * seconds(2.5)], said[SAMPLE_BYTES * seconds(2.0) :]
    if recording_first:
        times.put_before(recorded)
    times.wait_for_recording()
    opening = asyncio.create_task(times.opening())
    for number, frame in enumerate(frames(live)):
        if number == 10 and not recording_first:
            assert not line.pcm
            times.put_before(recorded)
        times.receive(frame)
    await asyncio.wait_for(opening, 1)
    assert bytes(line.pcm) == said
    assert seconds(2.0) <= line.earlier <= seconds(4.0)
    times.put_before(noise(1.0, seed=2))  # too late
    times.fill_silence()
    assert bytes(line.pcm)[: len(said)] == said


async def test_positions_are_times_after_a_recording_too() -> None:
    began = time.monotonic()
    line = Heard()
    times = Timeline(line)
    times.wait_for_recording()
    times.put_before(noise(2.0))
    for _ in range(COMPARED * SAMPLE_BYTES // 640 + 1):  # silent, so that time decides
        times.receive(bytes(640))
    await asyncio.sleep(0.3)
    times.fill_silence()
    since = time.monotonic() - began
    assert len(line.pcm) // SAMPLE_BYTES - line.earlier == pytest.approx(seconds(since), abs=seconds(0.1))


async def test_a_silent_end_is_known_by_the_time_at_which_the_recording_came() -> None:
    line = Heard()
    times = Timeline(line)
    times.wait_for_recording()
    times.receive(bytes(640))
    await asyncio.sleep(0.3)
    times.put_before(noise(1.0) + silent(1.0))
    await asyncio.sleep(0.3)
    for frame in frames(silent(1.0)):
        times.receive(frame)
    sounding = np.flatnonzero(line.samples)
    assert sounding[-1] - sounding[0] == pytest.approx(seconds(1.0), abs=seconds(0.01))
    assert line.samples.size == pytest.approx(seconds(2.0 - 0.3 + 1.02), abs=seconds(0.1))


async def test_a_recording_is_waited_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timeline, "RECORDED_WITHIN_S", 0.1)
    times = Timeline(Heard())
    times.wait_for_recording()
    await asyncio.wait_for(times.whole.wait(), 1)
    times.wait_for_recording()  # of the next track
    assert times.whole.is_set()


async def test_who_announces_a_recording_and_sends_none_is_heard_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timeline, "RECORDED_WITHIN_S", 0.1)
    line = Heard()
    times = Timeline(line)
    times.wait_for_recording()
    times.receive(noise(0.02))
    assert not line.pcm
    await asyncio.wait_for(times.opening(), 1)
    assert bytes(line.pcm).endswith(noise(0.02))
    assert line.earlier == 0


# --- in a room --------------------------------------------------------------------------------------------------------

ROOM = pytest.mark.asyncio(loop_scope="module")
PAUSE_S = 0.8


async def send(visitor: Visitor, data: bytes, mime: str, **attributes: str) -> None:
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
    events, room = await building.home.listen(), building.room()
    async with visit(building.server.url, token(room), microphone=False) as visitor:
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
    events, room = await building.home.listen(), building.room()
    async with visit(building.server.url, token(room), microphone=False) as visitor:
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
