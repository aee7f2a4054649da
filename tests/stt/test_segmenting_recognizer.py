"""One caller's ear, with a detector that takes loud for voice and a recogniser that tells how much it read."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

import numpy as np
import pytest

from schemas.events import Event, SpeechEnded, SpeechStarted, TranscriptFinal
from stages.runtime.providers import ProviderError
from stages.stt.segmenting_recognizer import FINISH_S, SegmentingRecognizer
from stages.stt.silero import Detector, Floats
from stages.stt.transcription_scheduler import TranscriptionScheduler
from stages.stt.voice_activity import WINDOW

VOICE = (3_000).to_bytes(2, "little") * WINDOW
QUIET = bytes(2 * WINDOW)
WITHIN_MS = 123


def loud_is_voice(heard: Floats, state: Floats) -> tuple[Floats, Floats]:
    return (np.abs(heard[:, 64:]).max(axis=1, keepdims=True) > 0.05).astype(np.float32), state


def length(pcm: bytes) -> str:
    return f"{len(pcm) // 2}"


@asynccontextmanager
async def ear(transcribe: Callable[[bytes], str], events: list[Event]) -> AsyncIterator[SegmentingRecognizer]:
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(1) as listening, ThreadPoolExecutor(1) as reading:
        detector, desk = Detector(loud_is_voice, listening), TranscriptionScheduler(transcribe, reading)
        tasks = [loop.create_task(detector.work()), loop.create_task(desk.work())]
        one = SegmentingRecognizer(events.append, detector, desk, lambda: WITHIN_MS, lambda late_s: None)
        try:
            yield one
        finally:
            one.close()
            for task in tasks:
                task.cancel()


def feed(one: SegmentingRecognizer, *windows: bytes) -> None:
    for index, window in enumerate(windows):
        one.feed(window, index * WINDOW)


def kinds(events: list[Event]) -> list[type[Event]]:
    return [type(event) for event in events if isinstance(event, SpeechStarted | SpeechEnded | TranscriptFinal)]


async def test_a_pause_to_breathe_neither_ends_nor_doubles_anything() -> None:
    events: list[Event] = []
    async with ear(length, events) as one:
        feed(one, *[QUIET] * 5, *[VOICE] * 10, *[QUIET] * 6, *[VOICE] * 10, *[QUIET] * 9)
        await one.finish()
    assert kinds(events) == [SpeechStarted, SpeechEnded, TranscriptFinal]
    ended, final = events[-2:]
    assert isinstance(ended, SpeechEnded)
    assert isinstance(final, TranscriptFinal)
    assert (ended.until_sample, ended.silence_ms, ended.final_within_ms) == (
        31 * WINDOW,
        9 * 32,
        WITHIN_MS,
    )  # all that is heard
    assert int(final.text) == (5 + 26 + 4) * WINDOW  # from the beginning to 128 ms into the silence: read in the pause


async def test_a_recogniser_that_fails_is_told_with_the_next_frame() -> None:
    def breaks(pcm: bytes) -> str:
        raise ProviderError("server", "out of order")

    async with ear(breaks, []) as one:
        feed(one, *[VOICE] * 10, *[QUIET] * 9)
        await one.finish()
        with pytest.raises(ProviderError, match="out of order"):
            one.feed(QUIET, 19 * WINDOW)


async def test_a_recogniser_that_hangs_costs_the_words_but_not_the_contract() -> None:
    events: list[Event] = []
    hung_up = threading.Event()

    def hangs(pcm: bytes) -> str:
        hung_up.wait()
        return "too late"

    loop = asyncio.get_running_loop()
    async with ear(hangs, events) as one:
        feed(one, *[VOICE] * 10)
        began = loop.time()
        await one.finish()
        took = loop.time() - began
        hung_up.set()
    assert kinds(events) == [SpeechStarted, SpeechEnded, TranscriptFinal]
    assert took == pytest.approx(FINISH_S, abs=0.1)


async def test_ten_hours_of_silence_leave_nothing_behind() -> None:
    async with ear(length, []) as one:
        for hour in range(10):
            one.feed(QUIET, hour * 3_600 * 16_000)
        assert one._tape.end - one._tape.start < 30 * 16_000


async def test_a_detector_that_does_not_keep_up_is_an_error_and_no_silent_loss() -> None:
    async with ear(length, []) as one:
        with pytest.raises(ProviderError, match="behind"):
            feed(one, *[QUIET] * 1_000)  # 32 s before the detector has had its turn
