"""The tts stage: turns the sentences of the agent into audio, at most 5 s ahead of playback."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, ClassVar

from schemas.events import (
    Event,
    OwnerChanged,
    Paused,
    PlaybackEnded,
    PlaybackStarted,
    Resumed,
    SegmentSynthesized,
    SentenceReady,
    SessionOpened,
    TtsProviderFailed,
    TurnCancelled,
    TurnStarted,
)
from schemas.subjects import EGRESS
from session import recoverable
from session.recoverable import Sentence, TtsRecoverable
from session.state import SessionState, load
from stages.runtime.chain import Failure, InUse
from stages.runtime.context import StageContext
from stages.runtime.providers import ProviderError, Providers
from stages.runtime.stage import handles
from stages.tts.agent_audio import AgentAudio
from stages.tts.contract import Synthesizer, SynthesizerProvider
from stages.tts.fallback import FORGIVEN_S, FallbackSynthesizer, VoiceChain
from stages.tts.speech import Speech
from stages.tts.unplayed import NOTHING_SPOKEN, Unplayed

MAX_FAILED_TURNS = 2  # a caller hears nothing of a failed turn: a third one would be silent for another 10 s


class Voice:
    """Speaks the turns of one session, one at a time. A newer turn or a cancel stops the turn before it."""

    publishes: ClassVar[tuple[type[Event], ...]] = (SegmentSynthesized, TtsProviderFailed)

    def __init__(self, session: StageContext, chain: VoiceChain, first: InUse[Synthesizer]) -> None:
        self._session = session
        self._voices = FallbackSynthesizer(chain, first, self._report)
        self._output = AgentAudio(session)
        self._speech: Speech | None = None  # the newest turn
        self._speaking: asyncio.Task[None] | None = None  # its task
        self._failures: list[ProviderError] = []  # of failed turns in a row; refused turns add none
        self._failed_ms = 0
        self._snapshot = load(session.snapshot)
        self._unplayed = Unplayed(recoverable.tts(self._snapshot))

    def recoverable(self) -> TtsRecoverable:
        """Return what a new owner of this stage would start with."""
        return self._unplayed.recoverable

    @handles(SentenceReady)
    def speak(self, sentence: SentenceReady) -> None:
        """Speak a sentence behind those of its turn."""
        self._unplayed.add(sentence)
        if self._speech is None or self._speech.turn != sentence.turn:
            self._speech = self._begin(sentence.turn)
        self._speech.push(sentence)

    @handles(TurnStarted)
    def start(self, turn: TurnStarted) -> None:
        """Stop the turns before this one."""
        self._unplayed.start(turn.turn)
        self._stop_below(turn.turn)

    @handles(TurnCancelled)
    def cancel(self, turn: TurnCancelled) -> None:
        """Stop this turn. The session's gate drops those of its sentences that come later."""
        self._unplayed.end(turn.turn)
        self._output.end(turn.turn)
        self._stop_below(turn.turn + 1)

    @handles(PlaybackStarted, Paused, Resumed)
    def follow(self, playback: PlaybackStarted | Paused | Resumed) -> None:
        """Follow how far the caller has heard the turn."""
        self._unplayed.follow(playback)
        self._output.follow(playback)

    @handles(PlaybackEnded)
    def end(self, playback: PlaybackEnded) -> None:
        """Forget the sentences of a turn that has been played."""
        self._unplayed.follow(playback)
        self._output.end(playback.turn)

    @handles(SessionOpened, OwnerChanged)
    def find_egress(self, event: SessionOpened | OwnerChanged) -> None:
        """Look again which worker owns egress; a new owner gets the audio that the caller has not heard."""
        self._output.owners_changed()
        if isinstance(event, OwnerChanged) and event.stage == EGRESS:
            self._output.send_again(event.turn, event.heard_ms)

    @property
    def idle(self) -> bool:
        """Whether no sentence waits to be spoken, or to be played."""
        return self._unplayed.recoverable.turn == 0

    def take_over(self) -> None:
        """Speak the sentences that were not played to their end: egress drops those that it has whole."""
        state, self._snapshot = self._snapshot, SessionState()
        left = recoverable.tts(state)
        if left == NOTHING_SPOKEN or not (left.sentences or left.complete):
            return
        turn = state.turns[left.turn]
        first = left.sentences[0].segment if left.sentences else len(turn.segments)
        before = (made.duration_ms or 0 for segment, made in turn.segments.items() if segment < first)
        self._speech = self._begin(left.turn, sum(before))
        if turn.playing:
            self._output.go_on(turn.heard_ms, paused=turn.playback == "paused")
        sentences = left.sentences or (Sentence(first, ""),)
        for sentence in sentences:
            last = left.complete and sentence is sentences[-1]
            self._speech.push(SentenceReady(turn=left.turn, segment=sentence.segment, text=sentence.text, last=last))

    def _begin(self, turn: int, at_ms: int = 0) -> Speech:
        self._stop_below(turn)
        if self._speech and self._speech.failure:
            self._failures.append(self._speech.failure)
            self._failed_ms = self._session.now_ms()
        elif self._speech and self._speech.spoke:
            self._failures.clear()
        self._output.begin(turn, at_ms)
        speech = Speech(
            turn,
            self._session,
            self._output,
            lambda: self._voices.name,
            self._voices,
            self._refusal(),
            measured=self._unplayed.measure,
        )
        self._speaking = self._session.spawn(speech.run())
        return speech

    def _stop_below(self, turn: int) -> None:
        """Cancel the task of a turn below `turn`, once: a second time would cut off its message to the vendor."""
        speech, task = self._speech, self._speaking
        if speech and task and speech.turn < turn and not speech.closing and not task.cancelling():
            task.cancel()

    def _refusal(self) -> ProviderError | None:
        """Return the error of a turn for which the provider is not asked again."""
        if len(self._failures) < MAX_FAILED_TURNS or self._session.now_ms() - self._failed_ms > FORGIVEN_S * 1000:
            return None
        last = self._failures[-1]
        return ProviderError(last.kind, f"not asked again after {MAX_FAILED_TURNS} failed turns; the last one: {last}")

    def _report(self, failure: Failure) -> None:
        """Publish that another voice goes on in the turn that is spoken."""
        _publish_failure(self._session, failure, self._speech.turn if self._speech else 0)


STAGE = Voice


@asynccontextmanager
async def open_worker(providers: Providers[SynthesizerProvider]) -> AsyncIterator[Providers[SynthesizerProvider]]:
    """Open what the sessions of a worker share: the synthesizers."""
    yield providers


@asynccontextmanager
async def open_session(session: StageContext, providers: Providers[SynthesizerProvider]) -> AsyncIterator[Voice]:
    """Open the voice of one session. Raises ProviderMissing or ProviderError."""
    chain = VoiceChain(providers, session.agent, session.agent.tts, _open)
    async with chain:
        used = await chain.open_first(lambda failure: _publish_failure(session, failure))
        yield Voice(session, chain, used)


def _open(provider: SynthesizerProvider, options: Mapping[str, Any]) -> AbstractAsyncContextManager[Synthesizer]:
    return provider.open(options)


def _publish_failure(session: StageContext, failure: Failure, turn: int = 0) -> None:
    provider, error, upcoming = failure
    session.publish(
        TtsProviderFailed(
            turn=turn, provider=provider, kind=error.kind, message=str(error), retryable=error.retryable, next=upcoming
        )
    )
