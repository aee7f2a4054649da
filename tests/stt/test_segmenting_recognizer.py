"""One caller's stretches, with a VAD that takes loud for voice and a transcriber that returns how much it got."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import pytest

from antiphon_testing.stage import Call
from schemas.events import Event, SpeechEnded, SpeechStarted, SttProviderFailed, TranscriptFinal
from stages.runtime.providers import ProviderError
from stages.stt.contract import Recognizer, Transcriber, Voice
from stages.stt.lateness import FINAL_WITHIN_MS
from stages.stt.segmenting_recognizer import SegmentingRecognizer
from stages.stt.silero import Floats
from stages.stt.silero_engine import SileroEngine
from stages.stt.stage import FINISH_S
from stages.stt.transcription_scheduler import TranscriptionScheduler
from stages.stt.voice_activity import WINDOW
from tests.kit.hearing import hearing

VOICE = (3_000).to_bytes(2, "little") * WINDOW
QUIET = bytes(2 * WINDOW)


def loud_is_voice(heard: Floats, state: Floats) -> tuple[Floats, Floats]:
    return (np.abs(heard[:, 64:]).max(axis=1, keepdims=True) > 0.05).astype(np.float32), state


async def length(pcm: bytes) -> str:
    return f"{len(pcm) // 2}"


class Segmenting:
    """The provider."""

    capacity = None

    def __init__(self, scheduler: TranscriptionScheduler) -> None:
        self._scheduler = scheduler

    @asynccontextmanager
    async def open(self, options: Mapping[str, Any], voice: Voice) -> AsyncIterator[Recognizer]:
        recognizer = SegmentingRecognizer(self._scheduler, voice)
        yield recognizer
        recognizer.close()


@asynccontextmanager
async def recognizing(transcribe: Transcriber) -> AsyncIterator[Call]:
    """A session whose speech `transcribe` turns into text."""
    scheduler = TranscriptionScheduler(transcribe)
    with ThreadPoolExecutor(1) as thread:
        engine = SileroEngine(loud_is_voice, thread)
        with engine.working(), scheduler.working():
            async with hearing(Segmenting(scheduler), engine).call() as call:
                yield call


def feed(call: Call, *windows: bytes) -> None:
    for index, window in enumerate(windows):
        call.hear_audio(window, at=index * WINDOW)


def kinds(events: list[Event]) -> list[type[Event]]:
    return [type(event) for event in events if isinstance(event, SpeechStarted | SpeechEnded | TranscriptFinal)]


async def test_a_pause_to_breathe_neither_ends_nor_doubles_anything() -> None:
    async with recognizing(length) as call:
        feed(call, *[QUIET] * 5, *[VOICE] * 10, *[QUIET] * 6, *[VOICE] * 10, *[QUIET] * 9)
    assert kinds(call.events) == [SpeechStarted, SpeechEnded, TranscriptFinal]
    ended, final = call.events[-2:]
    assert isinstance(ended, SpeechEnded)
    assert isinstance(final, TranscriptFinal)
    assert (ended.until_sample, ended.silence_ms, ended.final_within_ms) == (
        31 * WINDOW,
        9 * 32,
        FINAL_WITHIN_MS,
    )  # all that is heard
    assert int(final.text) == (5 + 26 + 4) * WINDOW  # from the beginning to 128 ms into the silence: begun in the pause
    assert (final.part, final.last) == (0, True)
    assert final.audio_ms == (26 + 4) * 32


async def test_a_transcriber_that_fails_ends_the_session_at_once_and_not_with_the_next_frame() -> None:
    async def breaks(pcm: bytes) -> str:
        raise ProviderError("server", "out of order")

    async def lose_the_transcriber(calls: list[Call]) -> None:
        async with recognizing(breaks) as call:
            calls.append(call)
            feed(call, *[VOICE] * 10, *[QUIET] * 9)
            await call.publishes(SttProviderFailed, message="out of order")

    calls: list[Call] = []
    with pytest.raises(ProviderError, match="out of order"):
        await lose_the_transcriber(calls)
    assert len(calls[0].published(SttProviderFailed)) == 1


async def test_a_transcriber_that_hangs_costs_the_words_but_not_the_contract() -> None:
    hung_up = asyncio.Event()

    async def hangs(pcm: bytes) -> str:
        await hung_up.wait()
        return "too late"

    loop = asyncio.get_running_loop()
    async with recognizing(hangs) as call:
        feed(call, *[VOICE] * 10)
        await call.publishes(SpeechStarted)
        began = loop.time()
    took = loop.time() - began
    hung_up.set()
    assert kinds(call.events) == [SpeechStarted, SpeechEnded, TranscriptFinal]
    assert call.published(TranscriptFinal)[0].text == ""
    assert took == pytest.approx(FINISH_S, abs=0.1)


async def test_a_transcriber_that_hangs_leaves_the_words_of_the_last_interim() -> None:
    hangs = asyncio.Event()
    asked = 0

    async def slow(pcm: bytes) -> str:
        nonlocal asked
        asked += 1
        if asked > 1:
            await hangs.wait()
        return "some words"

    async with recognizing(slow) as call:
        for index in range(40):
            call.hear_audio(VOICE, at=index * WINDOW)
            await asyncio.sleep(0)
        await call.until(lambda: asked > 1 or None, "a second stretch")
    final = call.published(TranscriptFinal)[0]
    assert (final.text, final.last) == ("some words", True)
    hangs.set()


async def test_ten_hours_of_silence_leave_nothing_behind() -> None:
    async with recognizing(length) as call:
        for hour in range(10):
            call.hear_audio(QUIET, at=hour * 3_600 * 16_000)
        recognizer = call.stage.recognizer
        for audio in (recognizer._unsettled.audio, recognizer._used.value._audio):
            assert audio.end - audio.start < 30 * 16_000
