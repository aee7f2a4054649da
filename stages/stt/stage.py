"""Caller audio -> speech_started, speech_ended and transcripts: the worker's VAD and a recognizer, joined."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import Any, ClassVar

from schemas.audio import CALLER_HZ, SAMPLE_BYTES, samples_to_ms
from schemas.events import (
    MOST_UNFINISHED,
    Event,
    SpeechEnded,
    SpeechStarted,
    SttProviderFailed,
    TranscriptFinal,
    TranscriptInterim,
    TurnJudged,
)
from schemas.media import Frame
from session import recoverable
from session.recoverable import SttRecoverable
from session.state import load
from stages.runtime.chain import Failure, InUse, ProviderChain
from stages.runtime.context import StageContext
from stages.runtime.providers import ProviderError, Providers, names
from stages.stt.contract import (
    Capabilities,
    Heard,
    HeardEndOfTurn,
    HeardFinal,
    HeardInterim,
    HeardSpeechStarted,
    HeardTurnResumed,
    Recognizer,
    RecognizerProvider,
    SpeechDetector,
)
from stages.stt.fallback import FallbackRecognizer
from stages.stt.lateness import Lateness
from stages.stt.utterances import NOTHING_HEARD, Utterance, Utterances
from stages.stt.vad import SCRIPTED, VoiceActivityDetection, open_vad
from stages.stt.voice_activity import Offset, Onset

FINISH_S = 0.9  # for what VAD and the recognizer still owe when the caller is gone; a stage has 2 s to flush in
CANCEL_WITHIN_S = 1.0  # an adapter that does not let itself be cancelled must not keep the session
# After `final_within_ms`, llm answers with the last interim. A recognizer that is overloaded or reconnects may still
# deliver for a while: a final that comes within this margin is one part and not an utterance of its own.
MARGIN_MS = 5_000
AGAIN_WITHIN_MS = 3_000  # after a takeover: to recognize up to 30 s of audio again, faster than real time


class Hearing:
    """Recognizes the speech of one caller. left: the utterances that the owner before left unfinished."""

    publishes: ClassVar[tuple[type[Event], ...]] = (
        SpeechStarted,
        SpeechEnded,
        TranscriptFinal,
        TranscriptInterim,
        TurnJudged,
        SttProviderFailed,
    )

    def __init__(self, context: StageContext, lateness: Lateness, left: SttRecoverable = NOTHING_HEARD) -> None:
        self._context = context
        self._provider = context.agent.stt.provider
        self._lateness = lateness
        self._utterances = Utterances(left, self._provider)
        self._ended_ms: dict[int, int] = {}  # utterances that wait for their last part -> when their end was known
        self._fed = 0  # samples
        self._finishing = False
        self._failed = False
        self.recognizer: Recognizer | None = None  # none before it is open and after it has failed
        self.detector: SpeechDetector

    def recoverable(self) -> SttRecoverable:
        """Return what a new owner of this stage would start with."""
        return self._utterances.recoverable

    @property
    def idle(self) -> bool:
        """Whether the caller is silent and all speech has its transcript."""
        return not self._utterances.unfinished

    def take_over(self) -> None:
        """Set a deadline for the utterances that the owner before left: ingress sends their audio again."""
        left = tuple(self._utterances.unfinished)
        if left:
            self._context.later(self.final_within_ms + AGAIN_WITHIN_MS, lambda: self._overdue_again(left))

    # --- audio --------------------------------------------------------------------------------------------------------

    def on_audio(self, frame: Frame) -> None:
        if frame.rate != CALLER_HZ:
            self._context.count("wrong_rate")
        elif (recognizer := self.recognizer) is not None:
            pcm, at = frame.pcm, frame.at
            if at < self._fed:  # a replay may begin within what is known
                pcm, at = pcm[(self._fed - at) * SAMPLE_BYTES :], self._fed
            if not pcm:  # some vendors take an empty message for the end of the audio
                return
            self._fed = at + len(pcm) // SAMPLE_BYTES
            try:
                self.detector.feed(pcm, at)  # first: at a long gap it ends the speech before that gap
                recognizer.feed(pcm, at)
            except ProviderError as error:
                self.fail(error)

    async def finish(self) -> None:
        """Publish what is still open: the caller is gone. Takes at most FINISH_S."""
        if self.recognizer is None:
            return
        self._finishing = True
        with suppress(TimeoutError):
            async with asyncio.timeout(FINISH_S):
                await self.detector.catch_up()
                self.detector.stop()
                await self.recognizer.finish()
                await self._following
        self.detector.stop()  # if VAD was too slow
        for utterance in list(self._utterances.unfinished):
            self._force_last(utterance)

    # --- voice activity: this stage is the SpeechListener -------------------------------------------------------------

    def speech_started(self, onset: Onset) -> None:
        self._publish(self._utterances.speech_started(onset.at))
        if len(self._utterances.unfinished) > MOST_UNFINISHED:
            self.fail(ProviderError("server", "the recognizer cannot keep up: too many sessions", retryable=True))

    def speech_ended(self, offset: Offset) -> None:
        if self._failed and not self._finishing:
            return
        within_ms = self.final_within_ms
        silence_ms = samples_to_ms(offset.silence_until(self.detector.end), CALLER_HZ)
        self._publish(self._utterances.speech_ended(offset, silence_ms, within_ms))
        if not self._utterances.unfinished:
            return
        newest = self._utterances.unfinished[-1]
        if self.recognizer is not None and self._capabilities.force_end and not self._capabilities.turn_events:
            self.recognizer.force_end()
        if not self._finishing:  # then FINISH_S is the deadline, and the session's timers have been cancelled
            self._context.later(within_ms + MARGIN_MS, lambda: self._overdue(newest))

    @property
    def _capabilities(self) -> Capabilities:
        return self.recognizer.capabilities if self.recognizer else Capabilities()

    @property
    def final_within_ms(self) -> int:
        """From the end of speech to the last part, 99th percentile: declared by the recognizer, else measured."""
        declared = self._capabilities.final_within_ms
        return self._lateness.final_within_ms if declared is None else declared

    def _overdue(self, utterance: Utterance) -> None:
        if utterance in self._utterances.unfinished:
            self._force_last(utterance)

    def _overdue_again(self, left: tuple[Utterance, ...]) -> None:
        if any(one in self._utterances.unfinished for one in left):
            self._context.count("not_heard_again")
        self._publish(self._utterances.give_up_on(left))

    def _force_last(self, utterance: Utterance) -> None:
        self._context.count("final_overdue")
        self._publish(self._utterances.force_last(utterance))

    # --- the recognizer -----------------------------------------------------------------------------------------------

    def use(self, provider: str, lateness: Lateness) -> None:
        """Name the provider in transcripts from now on. lateness: of its recent finals."""
        self._provider, self._lateness = provider, lateness
        self._utterances.provider = provider

    def listen_to(self, recognizer: Recognizer) -> "asyncio.Task[None]":
        """Publish what `recognizer` hears, in a task that the caller cancels."""
        self.recognizer = recognizer
        self._following = asyncio.create_task(self._follow(recognizer), name="recognizer")
        return self._following

    async def _follow(self, recognizer: Recognizer) -> None:
        try:
            async for heard in recognizer.heard():
                self._heard(heard)
            if not self._finishing:
                raise ProviderError("server", "the recognizer ended before the session", retryable=True)
        except ProviderError as error:
            self.fail(error)
        except Exception as error:  # noqa: BLE001 - a defect of the adapter ends this session, and worker.py logs it
            self._context.fail(error)

    def _heard(self, heard: Heard) -> None:
        match heard:
            case HeardFinal():
                self._publish(self._utterances.heard_final(heard))
            case HeardInterim():
                self._publish(self._utterances.heard_interim(heard))
            case HeardEndOfTurn():
                self._publish(self._utterances.turn_judged(heard.at_sample, heard.probability))
            case HeardTurnResumed():
                self._publish(self._utterances.turn_judged(heard.at_sample, 0.0))
            case HeardSpeechStarted():
                if not self.detector.speaking:
                    self._context.count("speech_unnoticed")

    def _publish(self, events: list[Event]) -> None:
        for event in events:
            self._context.publish(event)
            match event:
                case SpeechEnded() if any(one.number == event.utterance for one in self._utterances.unfinished):
                    self._ended_ms[event.utterance] = self._context.now_ms()
                case TranscriptFinal(last=True):
                    ended_ms = self._ended_ms.pop(event.utterance, None)
                    self._lateness.add(0 if ended_ms is None else self._context.now_ms() - ended_ms)

    def fail(self, error: BaseException) -> None:
        """End the session, once, because the recognizer or VAD failed."""
        if self._failed:
            return
        self._failed, self.recognizer = True, None
        if isinstance(error, ProviderError):
            self._context.publish(
                SttProviderFailed(
                    provider=self._provider, kind=error.kind, message=str(error), retryable=error.retryable
                )
            )
        self._context.fail(error)


STAGE = Hearing


class Shared:
    """Everything that the sessions of an stt worker share. lateness: provider -> its recent finals."""

    def __init__(self, providers: Providers[RecognizerProvider], vad: VoiceActivityDetection) -> None:
        self.providers = providers
        self.vad = vad
        self.lateness: defaultdict[str, Lateness] = defaultdict(Lateness)


@asynccontextmanager
async def open_worker(providers: Providers[RecognizerProvider]) -> AsyncIterator[Shared]:
    """Open what the sessions share. A warm recognizer gets a warm VAD. Raises ProviderMissing."""
    context = providers.context
    async with open_vad(context.vad, context.weights) as vad:
        warm = [name for name in names("stt") if name != SCRIPTED and providers.opened(name)]
        if warm or context.vad == "silero":
            await vad.engine(warm[0] if warm else SCRIPTED)
        yield Shared(providers, vad)


@asynccontextmanager
async def open_session(context: StageContext, shared: Shared) -> AsyncIterator[Hearing]:
    """Open a recognizer and VAD for one caller. Raises ProviderMissing or ProviderError if either does not open."""
    name = context.agent.stt.provider
    hearing = Hearing(context, shared.lateness[name], recoverable.stt(load(context.snapshot)))
    detector = hearing.detector = await shared.vad.open(name, hearing.fail)
    try:
        detector.follow(hearing)  # before the recognizer: an utterance begins before its words

        def open_one(
            provider: RecognizerProvider, options: Mapping[str, Any]
        ) -> AbstractAsyncContextManager[Recognizer]:
            return provider.open(options, recognizer.voice())

        def report(failure: Failure) -> None:
            _publish_failure(context, failure)

        def switched(used: InUse[Recognizer]) -> None:
            hearing.use(used.choice.provider, shared.lateness[used.choice.provider])

        async with ProviderChain(shared.providers, context.agent, context.agent.stt, open_one) as chain:
            recognizer = FallbackRecognizer(chain, detector, report, switched, lambda: hearing.final_within_ms)
            recognizer.begin_with(await chain.open_first(report))
            following = hearing.listen_to(recognizer)
            try:
                yield hearing
                await hearing.finish()
            finally:
                hearing.recognizer = None
                recognizer.close()
                following.cancel()
                await asyncio.wait([following], timeout=CANCEL_WITHIN_S)
    finally:
        detector.close()


def _publish_failure(context: StageContext, failure: Failure) -> None:
    provider, error, upcoming = failure
    context.publish(
        SttProviderFailed(
            provider=provider, kind=error.kind, message=str(error), retryable=error.retryable, next=upcoming
        )
    )
