"""The timeline of a caller: positions are times, and a recording comes before received audio."""

import asyncio
import time

import numpy as np
import pytest
from numpy.typing import NDArray

from schemas.audio import SAMPLE_BYTES
from tests.transports.livekit.audio import frames, noise, seconds, silent
from transports.livekit import timeline
from transports.livekit.preconnect import COMPARED
from transports.livekit.timeline import Timeline

pytestmark = pytest.mark.realtime


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
