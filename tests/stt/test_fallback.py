"""A chain of recognizers: whatever fails, the words out are the words in."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import stages.stt.stage
from antiphon_testing.speech import BECKETT, recording, silence
from antiphon_testing.stage import Call, worker
from antiphon_testing.vendors.deepgram_server import deepgram_server
from antiphon_testing.vendors.faults import Close, Fault, Garbage, HalfFrame, Refuse, Stall, Wrong
from antiphon_testing.vendors.speech_server import Transcribe, local_transcriber
from antiphon_testing.wer import words
from schemas.agent import ProviderChoice
from schemas.audio import CALLER_FRAME_BYTES, CALLER_HZ, SAMPLE_BYTES
from schemas.events import SttProviderFailed, TranscriptFinal
from schemas.events.envelope import Word
from schemas.provider_keys import ProviderKeys
from stages.runtime.chain import Failure, InUse
from stages.runtime.providers import ProviderContext, ProviderError
from stages.stt import fallback
from stages.stt.contract import Capabilities, Heard, HeardFinal, Recognizer
from stages.stt.fallback import Chain, FallbackRecognizer
from stages.stt.heard_queue import HeardQueue
from stages.stt.loudness import LoudnessDetector

WITHIN_S = 30.0
WORD = CALLER_HZ // 5  # samples of a word: one level, which is its number
FIRST_LEVEL, LEVEL = 1_000, 10


def said(count: int, pauses: set[int]) -> bytes:
    """Return `count` words, with a silence of 0.5 s before each word of `pauses` and at the end."""
    pieces = [silence(0.3)]
    for number in range(count):
        pieces += [silence(0.5)] if number in pauses else []
        pieces.append(numpy.full(WORD, FIRST_LEVEL + LEVEL * number, "<i2").tobytes())
    return b"".join([*pieces, silence(0.6)])


class Words:
    """A recognizer that reads `said` words out of the audio, and fails at a sample or before a final.

    every: words of a final that it makes by itself. repeats: its first final begins with the word before it.
    """

    def __init__(self, fails_at: int | None, every: int, *, timed: bool, repeats: bool) -> None:
        self.capabilities = Capabilities(force_end=True, word_times=timed)
        self._fails_at = fails_at
        self._every = every
        self._repeats = repeats
        self._outputs = HeardQueue()
        self._found: list[tuple[int, int]] = []  # number of a word, and the sample after it
        self._begun: dict[int, int] = {}
        self._count: dict[int, int] = {}
        self._settled = 0
        self._end = 0

    def feed(self, pcm: bytes, at_sample: int) -> None:
        self._settled = self._settled or at_sample
        samples = numpy.frombuffer(pcm, "<i2")
        self._end = at_sample + len(samples)
        for level, first, number in zip(*numpy.unique(samples, return_index=True, return_counts=True), strict=True):
            if level:
                word = (int(level) - FIRST_LEVEL) // LEVEL
                self._begun.setdefault(word, at_sample + int(first))
                self._count[word] = self._count.get(word, 0) + int(number)
                if self._count[word] == WORD:
                    self._found.append((word, self._begun[word] + WORD))
        if self._fails_at is not None and self._end >= self._fails_at:
            self._outputs.fail(ProviderError("server", "overloaded", retryable=True))
        elif len(self._found) >= self._every:
            self._final(self._found[-1][1])

    def force_end(self) -> None:
        self._final(self._end)

    async def finish(self) -> None:
        self._final(self._end)
        self._outputs.end()

    def heard(self) -> AsyncIterator[Heard]:
        return self._outputs.heard()

    def _final(self, until: int) -> None:
        numbers, start = [word for word, _ in self._found], self._settled
        if self._repeats and numbers and numbers[0]:
            numbers, start = [numbers[0] - 1, *numbers], max(0, start - WORD)
            self._repeats = False
        times = tuple(
            Word(f"w{one}", (self._begun[one] - start) * 1000 // CALLER_HZ, (self._begun[one] + WORD - start) // 16)
            if one in self._begun
            else Word(f"w{one}", 0, 1)
            for one in numbers
        )
        text = " ".join(f"w{one}" for one in numbers)
        self._outputs.put(HeardFinal(text, start, until, times if self.capabilities.word_times else ()))
        self._found, self._settled = [], until


class Links:
    """A chain of recognizers that are open already."""

    def __init__(self, recognizers: list[Words]) -> None:
        self._left = recognizers

    def take(self) -> InUse[Recognizer]:
        return InUse(ProviderChoice(provider="words"), self._left.pop(0), 0, set())

    async def open_next(self, tried: set[int], report: object) -> InUse[Recognizer] | None:
        await asyncio.sleep(0.001)
        return self.take() if self._left else None

    def failed(self, used: InUse[Recognizer], error: ProviderError) -> Failure:
        return Failure("words", error, "words" if self._left else "")

    def names_another(self, tried: set[int]) -> bool:
        return bool(self._left)


async def recognized(pcm: bytes, recognizers: list[Words]) -> list[str]:
    """Return the words that a chain of `recognizers` hears, fed frame by frame."""
    links, voice = Links(recognizers), LoudnessDetector()
    chain = FallbackRecognizer(cast("Chain", links), voice, lambda _: None, lambda _: None, lambda: 400)
    chain.begin_with(links.take())
    heard: list[str] = []

    async def follow() -> None:
        async for output in chain.heard():
            if isinstance(output, HeardFinal):
                heard.extend(output.text.split())

    class Stage:
        def speech_started(self, onset: object) -> None: ...

        def speech_ended(self, offset: object) -> None:
            chain.force_end()

    voice.follow(Stage())
    following = asyncio.create_task(follow())
    for sent in range(0, len(pcm), CALLER_FRAME_BYTES):
        frame = pcm[sent : sent + CALLER_FRAME_BYTES]
        voice.feed(frame, sent // SAMPLE_BYTES)
        chain.feed(frame, sent // SAMPLE_BYTES)
        await asyncio.sleep(0)
    voice.stop()
    await chain.finish()
    async with asyncio.timeout(WITHIN_S):
        await following
    chain.close()
    return heard


@settings(max_examples=60, deadline=None)
@given(
    count=st.integers(1, 12),
    pauses=st.sets(st.integers(1, 11)),
    cuts=st.lists(st.floats(0, 1.1), max_size=3),
    every=st.integers(1, 15),
    timed=st.booleans(),
    repeats=st.booleans(),
)
def test_no_word_is_lost_or_doubled_wherever_recognizers_fail(
    count: int, pauses: set[int], cuts: list[float], every: int, timed: bool, repeats: bool
) -> None:
    pcm = said(count, pauses)
    samples = len(pcm) // SAMPLE_BYTES
    recognizers = [
        Words(int(cut * samples), every, timed=timed, repeats=repeats and number > 0) for number, cut in enumerate(cuts)
    ]
    last = Words(None, every, timed=timed, repeats=repeats and bool(cuts))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fallback, "FASTER", 1_000)
        heard = asyncio.run(recognized(pcm, [*recognizers, last]))
    assert heard == [f"w{number}" for number in range(count)]


async def test_with_no_provider_left_the_error_is_raised() -> None:
    with pytest.raises(ProviderError, match="overloaded"):
        await recognized(said(3, set()), [Words(8_000, 1, timed=False, repeats=False)])


# --- calls ------------------------------------------------------------------------------------------------------------


def feed(call: Call, pcm: bytes, at: int) -> None:
    call.hear_audio(pcm, at=at)


async def play(call: Call, pcm: bytes, haste: float) -> None:
    for sent in range(0, len(pcm), CALLER_FRAME_BYTES):
        feed(call, pcm[sent : sent + CALLER_FRAME_BYTES], sent // SAMPLE_BYTES)
        await asyncio.sleep(0.02 / haste)


@asynccontextmanager
async def two_vendors(
    transcribe: Transcribe, fault: Fault | None, context: ProviderContext, options: dict[str, Any]
) -> AsyncIterator[Call]:
    """A call whose first Deepgram has `fault`, and whose second is sound."""
    async with deepgram_server(transcribe) as first, deepgram_server(transcribe) as second:
        first.faults.standing = fault
        stt = {
            "provider": "deepgram",
            "options": {**options, "base_url": first.url},
            "fallback": [{"provider": "deepgram", "options": {"base_url": second.url}}],
        }
        async with worker(stages.stt.stage, context) as running, running.call({"stt": stt}) as call:
            yield call


FAULTS = [
    Refuse(401),
    Refuse(429, retry_after_s=9),
    Refuse(500),
    Close(2, 1000),
    Close(2, 1005),
    Close(2, 1011),
    Garbage(2),
    HalfFrame(2),
    Stall(2),
    Wrong("never_final"),
    Wrong("duplicate_final"),
]


@pytest.mark.realtime
@pytest.mark.parametrize("fault", FAULTS, ids=repr)
async def test_real_speech_loses_no_word_when_the_first_vendor_fails(weights: Path, fault: Fault) -> None:
    """`Ever tried. Ever failed.`, and a vendor that fails within it."""
    pcm = silence(0.3) + recording("beckett")[: int(3.2 * CALLER_HZ) * SAMPLE_BYTES] + silence(1.0)
    keys = ProviderKeys.from_environment({})
    async with (
        local_transcriber() as transcribe,
        two_vendors(transcribe, fault, ProviderContext(keys, weights=weights), {}) as call,
    ):
        await play(call, pcm, haste=2)
        expected = words(BECKETT)[:4]

        def whole() -> list[str] | None:
            text = words(" ".join(final.text for final in call.published(TranscriptFinal)))
            return text if len(text) >= len(expected) else None

        assert await call.until(whole, "all words") == expected
        failures = call.published(SttProviderFailed)
        assert [failure.next for failure in failures] == (
            [] if isinstance(fault, Wrong) and "dup" in fault.what else ["deepgram"]
        )
