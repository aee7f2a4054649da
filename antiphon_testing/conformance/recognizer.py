"""The conformance suite of recognizers: every rule of stages/stt/contract.py as a test.

A test file inherits the tests and defines a fixture `subject` (asyncio_mode is `auto`):

    class TestAcme(RecognizerConformance):
        @pytest.fixture
        async def subject(self) -> AsyncIterator[Subject]:
            async with vendor() as url, open_provider(context) as provider:
                yield Subject(provider, {"url": url}, speech)

`broken_rules` checks the events that the stt stage publishes.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from schemas.audio import CALLER_FRAME_BYTES, CALLER_HZ, FRAME_MS, SAMPLE_BYTES
from schemas.events import Event, SpeechEnded, SpeechStarted, TranscriptFinal, TranscriptInterim, TurnJudged
from stages.runtime.providers import ProviderError
from stages.stt.contract import (
    Heard,
    HeardEndOfTurn,
    HeardFinal,
    HeardInterim,
    HeardTurnResumed,
    Recognizer,
    RecognizerProvider,
    SpeechDetector,
)
from stages.stt.loudness import LoudnessDetector
from stages.stt.stage import FINISH_S
from stages.stt.utterances import NOTHING_HEARD, Utterances
from stages.stt.voice_activity import LONGEST_GAP, Offset, Onset

FINAL_WITHIN_S = 10.0  # of a healthy recognizer on a busy machine; a slower one would fail in a call long before
FAIL_WITHIN_S = 2.0  # without another frame: a failure that waits for one leaves a silent caller unserved
SPREAD = 1.5  # of FINISH_S: a busy machine wakes late


@dataclass(frozen=True)
class Subject:
    """A recognizer and a caller to test it with.

    speech: PCM16 mono at 16 kHz, one utterance of at least 0.5 s between silences; the last lasts 0.5 s or more.
    fail: makes the vendor or the engine fail while a session is open. None skips the test.
    voice: makes the VAD of a session; loudness will do for a recognizer that finds speech by itself.
    haste: feeds so many times faster than a caller speaks.
    """

    provider: RecognizerProvider
    options: Mapping[str, Any]  # Any: each provider checks its own
    speech: bytes
    fail: Callable[[], None] | None = None
    voice: Callable[[], SpeechDetector] = LoudnessDetector
    haste: float = 1.0


@dataclass
class Run:
    """One session. outputs: as they came. events: as the stage would publish them."""

    recognizer: Recognizer
    detector: SpeechDetector
    haste: float
    outputs: list[Heard] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    utterances: Utterances = field(default_factory=lambda: Utterances(NOTHING_HEARD, "conformance"))

    async def follow(self) -> None:
        """Collect outputs until the recognizer ends or fails."""
        async for heard in self.recognizer.heard():
            self.outputs.append(heard)
            if isinstance(heard, HeardFinal):
                self.events += self.utterances.heard_final(heard)
            elif isinstance(heard, HeardInterim):
                self.events += self.utterances.heard_interim(heard)

    async def feed(self, pcm: bytes, at: int = 0) -> int:
        """Feed `pcm` in frames of 20 ms; returns the sample after it."""
        for sent in range(0, len(pcm), CALLER_FRAME_BYTES):
            frame = pcm[sent : sent + CALLER_FRAME_BYTES]
            self.detector.feed(frame, at)
            self.recognizer.feed(frame, at)
            at += len(frame) // SAMPLE_BYTES
            await asyncio.sleep(FRAME_MS / 1000 / self.haste)
        return at

    def speech_started(self, onset: Onset) -> None:
        self.events += self.utterances.speech_started(onset.at)

    def speech_ended(self, offset: Offset) -> None:
        self.events += self.utterances.speech_ended(offset, 0, 0)
        capabilities = self.recognizer.capabilities
        if capabilities.force_end and not capabilities.turn_events:
            self.recognizer.force_end()

    @property
    def finals(self) -> list[HeardFinal]:
        return [heard for heard in self.outputs if isinstance(heard, HeardFinal)]

    async def has(self, condition: Callable[[], bool], what: str) -> None:
        """Wait until `condition` holds; AssertionError says that `what` did not come."""
        deadline = time.monotonic() + FINAL_WITHIN_S
        while not condition():
            assert time.monotonic() < deadline, f"{what} did not come within {FINAL_WITHIN_S} s: {self.outputs}"
            await asyncio.sleep(0.01)


@asynccontextmanager
async def running(subject: Subject) -> AsyncIterator[tuple[Run, "asyncio.Task[None]"]]:
    """Open a session of `subject` and follow it in the task that is yielded, too."""
    detector = subject.voice()
    async with subject.provider.open(subject.options, detector) as recognizer:
        run = Run(recognizer, detector, subject.haste)
        detector.follow(run)
        following = asyncio.create_task(run.follow())
        try:
            yield run, following
        finally:
            following.cancel()
            await asyncio.wait([following])
            detector.close()


class RecognizerConformance:
    """The tests. A subclass defines the fixture `subject`."""

    async def test_speech_becomes_text(self, subject: Subject) -> None:
        async with running(subject) as (run, _):
            await run.feed(subject.speech)
            await run.has(lambda: any(final.text.strip() for final in run.finals), "a final with words")

    async def test_positions_are_those_of_the_caller_s_audio(self, subject: Subject) -> None:
        """After a takeover a session begins late; finals settle the audio in order and never twice."""
        first = 7 * CALLER_HZ
        async with running(subject) as (run, _):
            middle = await run.feed(subject.speech, first)
            await run.has(lambda: bool(run.finals), "the final of the first utterance")
            end = await run.feed(subject.speech, middle)
            await run.has(lambda: run.finals[-1].until_sample > middle, "the final of the second utterance")
        settled = first
        for final in run.finals:
            assert settled <= final.start_sample <= final.until_sample <= end, f"out of order: {run.finals}"
            settled = final.until_sample
        for heard in run.outputs:
            if isinstance(heard, HeardInterim):
                assert first <= heard.start_sample <= heard.until_sample <= end, f"out of place: {heard}"

    async def test_lost_frames_do_not_move_what_follows(self, subject: Subject) -> None:
        async with running(subject) as (run, _):
            at = await run.feed(subject.speech)
            await run.has(lambda: bool(run.finals), "the final before the gap")
            behind_gap = at + LONGEST_GAP + CALLER_HZ
            await run.feed(subject.speech, behind_gap)
            await run.has(lambda: run.finals[-1].start_sample >= behind_gap, "a final behind the gap")

    async def test_outputs_are_those_of_its_capabilities(self, subject: Subject) -> None:
        async with running(subject) as (run, _):
            await run.feed(subject.speech)
            await run.has(lambda: bool(run.finals), "a final")
        capabilities = run.recognizer.capabilities
        assert capabilities.rates, "the vendor accepts no sample rate"
        assert min(capabilities.rates) > 0
        for heard in run.outputs:
            if isinstance(heard, HeardInterim):
                assert capabilities.interims, "interims without the capability"
            if isinstance(heard, HeardEndOfTurn | HeardTurnResumed):
                assert capabilities.turn_events, "turn events without the capability"
            if isinstance(heard, HeardEndOfTurn):
                assert 0 <= heard.probability <= 1
            if isinstance(heard, HeardFinal) and heard.words:
                assert capabilities.word_times, "word times without the capability"

    async def test_force_end_makes_all_audio_so_far_final(self, subject: Subject) -> None:
        async with running(subject) as (run, _):
            if not run.recognizer.capabilities.force_end:
                run.recognizer.force_end()  # must do no harm
                return
            at = await run.feed(_up_to_the_middle(subject.speech))
            run.recognizer.force_end()
            await run.has(lambda: bool(run.finals), "the forced final")
            assert 0 <= run.finals[-1].start_sample <= run.finals[-1].until_sample <= at

    async def test_finish_yields_the_last_words_and_ends(self, subject: Subject) -> None:
        """The caller hangs up in the middle of a word."""
        async with running(subject) as (run, following):
            await run.feed(_up_to_the_middle(subject.speech))
            async with asyncio.timeout(SPREAD * FINISH_S):
                await run.detector.catch_up()
                run.detector.stop()
                await run.recognizer.finish()
                await following
            assert run.finals, "the words before the hang-up are lost"

    async def test_finish_ends_a_session_without_audio(self, subject: Subject) -> None:
        async with running(subject) as (run, following):
            async with asyncio.timeout(SPREAD * FINISH_S):
                await run.recognizer.finish()
                await following
            assert not [final for final in run.finals if final.text], "words out of no audio"

    async def test_a_failure_is_raised_at_once(self, subject: Subject) -> None:
        """Not with the next frame: a caller who is silent sends none that matters."""
        if subject.fail is None:
            return
        async with running(subject) as (run, following):
            at = await run.feed(_up_to_the_middle(subject.speech))
            subject.fail()
            await asyncio.wait([following], timeout=FAIL_WITHIN_S)
            assert following.done(), f"the failure was not raised within {FAIL_WITHIN_S} s"
            assert isinstance(following.exception(), ProviderError), f"raised {following.exception()!r}"
            run.recognizer.feed(bytes(CALLER_FRAME_BYTES), at)

    async def test_nothing_goes_on_after_the_session_is_closed(self, subject: Subject) -> None:
        before = asyncio.all_tasks()
        async with running(subject) as (run, _):
            at = await run.feed(_up_to_the_middle(subject.speech))
        heard = len(run.outputs)
        run.recognizer.feed(bytes(CALLER_FRAME_BYTES), at)
        await asyncio.sleep(0.1)
        assert len(run.outputs) == heard, "outputs of a session that is closed"
        left = {task.get_name() for task in asyncio.all_tasks() - before}
        assert not left, f"tasks of a session that is closed: {left}"

    async def test_sessions_hear_nothing_of_each_other(self, subject: Subject) -> None:
        async with running(subject) as (talking, _), running(subject) as (silent, _):
            frames = len(subject.speech) // CALLER_FRAME_BYTES
            await asyncio.gather(talking.feed(subject.speech), silent.feed(bytes(CALLER_FRAME_BYTES) * frames))
            await talking.has(lambda: any(final.text for final in talking.finals), "a final")
            assert not [final for final in silent.finals if final.text], "words of another caller"

    async def test_an_option_that_it_does_not_know_is_refused(self, subject: Subject) -> None:
        detector = subject.voice()
        opening = subject.provider.open({**subject.options, "no_such_option": 1}, detector)
        kind = ""
        try:
            await opening.__aenter__()
        except ProviderError as error:
            kind = error.kind
        finally:
            detector.close()
        assert kind == "options", "an unknown option was accepted, or refused with another kind of error"

    async def test_the_stage_gives_each_utterance_its_numbered_parts(self, subject: Subject) -> None:
        async with running(subject) as (run, _):
            at = await run.feed(subject.speech)
            await run.feed(subject.speech, at)
            await run.has(lambda: not run.utterances.unfinished or len(run.finals) > 1, "the finals")
            for utterance in list(run.utterances.unfinished):
                run.events += run.utterances.force_last(utterance)
        assert not (broken := broken_rules(run.events)), broken


def broken_rules(events: list[Event]) -> list[str]:
    """Return which rules the events of one stt session break.

    Utterances are numbered without a hole. Each has one start, one end, and parts from 0 of which only the final one
    is the last. Interims come before the last part. The end of one utterance comes before the start of the next.
    """
    broken: list[str] = []
    started: list[int] = []
    ended: list[int] = []
    parts: dict[int, list[TranscriptFinal]] = {}
    for event in events:
        match event:
            case SpeechStarted():
                if started != ended:
                    broken.append(f"utterance {event.utterance} starts before the one before it has ended")
                started.append(event.utterance)
            case SpeechEnded():
                ended.append(event.utterance)
            case TranscriptFinal():
                if event.utterance not in started:
                    broken.append(f"a final of utterance {event.utterance}, which has not started")
                of_this = parts.setdefault(event.utterance, [])
                if of_this and of_this[-1].last:
                    broken.append(f"a part of utterance {event.utterance} behind its last")
                if event.part != len(of_this):
                    broken.append(f"part {event.part} of utterance {event.utterance} instead of {len(of_this)}")
                of_this.append(event)
            case TranscriptInterim():
                if event.utterance not in started or any(part.last for part in parts.get(event.utterance, [])):
                    broken.append(f"an interim of utterance {event.utterance}, which is not open")
            case TurnJudged():
                if event.utterance not in started:
                    broken.append(f"a judgement on utterance {event.utterance}, which has not started")
    first = started[0] if started else 0
    if started != list(range(first, first + len(started))):
        broken.append(f"utterances are numbered {started}")
    if started != ended:
        broken.append(f"{started} started, {ended} ended")
    for number in started:
        if not any(part.last for part in parts.get(number, [])):
            broken.append(f"utterance {number} has no last part")
    return broken


def _up_to_the_middle(speech: bytes) -> bytes:
    """Return the silence before an utterance and its first half, whole frames."""
    loud = LoudnessDetector()
    spans: list[int] = []

    class Span:
        def speech_started(self, onset: Onset) -> None:
            spans.append(onset.at)

        def speech_ended(self, offset: Offset) -> None:
            spans.append(offset.at)

    loud.follow(Span())
    loud.feed(b"", 0)
    for sent in range(0, len(speech), CALLER_FRAME_BYTES):
        loud.feed(speech[sent : sent + CALLER_FRAME_BYTES], sent // SAMPLE_BYTES)
    loud.stop()
    assert len(spans) >= 2, "`speech` holds no sound"
    middle = (spans[0] + spans[-1]) // 2 * SAMPLE_BYTES
    return speech[: middle // CALLER_FRAME_BYTES * CALLER_FRAME_BYTES]
