"""The llm stage: steps the turn machine of one session, and publishes its decisions and replies."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from typing import Any, ClassVar, Literal

from msgspec.structs import replace

from schemas import events
from schemas.events import (
    Cause,
    EchoRemoved,
    Event,
    LlmProviderFailed,
    Missing,
    Part,
    Paused,
    PlaybackEnded,
    PlaybackStarted,
    ReplyResumed,
    Resumed,
    SegmentSynthesized,
    SentenceReady,
    SessionOpened,
    SpeechEnded,
    SpeechStarted,
    TextReceived,
    TranscriptFinal,
    TranscriptInterim,
    TurnCancelled,
    TurnEnded,
    TurnStarted,
)
from schemas.subjects import INGRESS
from session import history, recoverable
from session.entries import Utterance as SaidUtterance
from session.recoverable import LlmRecoverable
from session.retention import KEEP_SEGMENTS
from session.state import SessionState, fold, load
from session.words import joined
from stages.llm import echo, recovery, states, turns
from stages.llm.contract import LanguageModel, LanguageModelProvider, ReplyRequest
from stages.llm.draft import Draft
from stages.llm.fact_retrieval import choose
from stages.llm.fallback import Replies
from stages.llm.prompt import conversation
from stages.llm.reply import Piece, recite, segments
from stages.llm.utterances import Heard
from stages.llm.waiting_notice import notice, with_waiting_notice
from stages.runtime.chain import Failure, ProviderChain
from stages.runtime.context import StageContext
from stages.runtime.options import is_english
from stages.runtime.providers import Providers
from stages.runtime.stage import handles

MOST_DRAFTS = 3  # a turn: a caller who pauses again and again is not worth a model's work each time


class Conversation:
    """Decides whose turn it is, and what the agent says in it.

    The state of the session holds what was said and heard. The stage folds every event that it handles or publishes
    into it; the turn machine keeps its own memory, which `recoverable` compares with that state.
    """

    publishes: ClassVar[tuple[type[Event], ...]] = (
        TurnStarted,
        SentenceReady,
        ReplyResumed,
        EchoRemoved,
        TurnCancelled,
        TurnEnded,
        LlmProviderFailed,
    )

    def __init__(self, call: StageContext, models: Replies) -> None:
        self._call = call
        self._models = models
        self._session = load(call.snapshot)
        self._playing_since_ms = call.now_ms()  # when egress last reported the position of the turn that sounds
        self._state: states.State = recovery.resume(
            recoverable.turn_taking(self._session),
            call.agent.turns,
            call.now_ms(),
            greeting=bool(call.agent.greeting.strip()),
            english=is_english(call.agent.language),
        )
        self._echo = echo.Echo(echoes=self._session.echoes)
        if self._echo.echoes:
            self._state = turns.expect_echo(self._state)
        self._alarm = call.deadline(self._ring)
        self._draft: Draft | None = None  # of the answer to what the caller may have finished saying
        self._drafts = 0  # begun since the last turn
        self._replies: dict[int, asyncio.Task[None]] = {}  # turn -> its reply, until the turn is history
        self._written: dict[int, Piece] = {}  # turn -> the end of its reply: what it cost, and whether it is whole

    def recoverable(self) -> LlmRecoverable:
        """Return what a new owner of this stage would start with."""
        recorded = recoverable.llm(self._session)
        return replace(recorded, turn_taking=recovery.turn_taking(self._state))

    # --- what it handles ----------------------------------------------------------------------------------------

    @handles(SessionOpened, SpeechStarted, SpeechEnded, TranscriptInterim, TranscriptFinal, TextReceived)
    def follow(self, event: SessionOpened | Heard | TextReceived) -> None:
        """Step the turn machine with an event of the caller."""
        before = self._session
        self._fold(event)
        own = self._without_echo(event)
        if isinstance(event, TranscriptFinal) and isinstance(own, TranscriptFinal) and own.text != event.text:
            self._remove_echo(before, event, own.text)
        self._step(own, _cause(event))

    @handles(PlaybackStarted, Resumed, PlaybackEnded)
    def play(self, event: PlaybackStarted | Resumed | PlaybackEnded) -> None:
        """Step the turn machine with an event of egress."""
        self._fold(event)
        self._playing_since_ms = self._call.now_ms()
        self._step(event, _cause(event))

    @handles(Paused, SegmentSynthesized)
    def note(self, event: Paused | SegmentSynthesized) -> None:
        """Keep an event that decides nothing: positions, and the times of the words, say what was heard."""
        self._fold(event)

    def _without_echo(self, event: SessionOpened | Heard | TextReceived) -> SessionOpened | Heard | TextReceived:
        """Return a transcript without the agent's own words."""
        if not isinstance(event, SpeechStarted | TranscriptInterim | TranscriptFinal):
            return event
        now = echo.place(self._session, self._played_ms(self._call.now_ms()))
        if isinstance(event, SpeechStarted):
            self._echo.started(event.utterance, now)
            return event
        final, echoed = isinstance(event, TranscriptFinal), self._echo.echoes
        text = self._echo.own_words(self._session, event.utterance, event.text, now, final=final)
        if self._echo.echoes and not echoed:
            self._state = turns.expect_echo(self._state)
        return replace(event, text=text)

    def _remove_echo(self, before: SessionState, event: TranscriptFinal, own: str) -> None:
        """Publish the caller's words of an utterance, unless this part adds none. before: the state before the part."""
        self._call.count("echo")
        known = before.utterances.get(event.utterance) or SaidUtterance()
        if event.part >= known.parts and not known.final:
            removed = EchoRemoved(
                utterance=event.utterance,
                characters=len(joined(known.text or "", event.text)),
                text=joined(recoverable.caller_words(before, event.utterance), own),
                cause=_cause(event),
                now_ms=self._call.now_ms(),
            )
            self._publish(removed)

    def finish(self) -> None:
        """End every turn that has not ended, with what was heard of it: the session is over."""
        now_ms = self._call.now_ms()
        for number, turn in self._session.turns.items():
            if turn.answers is not None and turn.heard is None:
                self._end(number, None, now_ms, interrupted=True)

    def _fold(self, event: Event) -> None:
        self._session = fold(self._session, event)

    def _publish(self, event: Event) -> None:
        self._fold(self._call.publish(event))

    def _played_ms(self, now_ms: int) -> int:
        return now_ms - self._playing_since_ms

    @property
    def idle(self) -> bool:
        """Whether neither side speaks, and all words are answered."""
        return isinstance(self._state, states.Listening) and not self._state.memory.ending

    def take_over(self) -> None:
        """Go on where the owner before left off: end turns that were played, finish the reply, set the alarm."""
        now_ms = self._call.now_ms()
        for number, turn in self._session.turns.items():
            if turn.playback == "ended" and turn.heard is None:
                self._step(PlaybackEnded(turn=number, heard_ms=turn.heard_ms), None)
        left = recoverable.llm(self._session)
        active = left.turn_taking.active
        if active and not left.complete:
            self._finish_reply(active, left.reply, now_ms)
        self._alarm.set(self._state.deadline_ms)

    def _finish_reply(self, turn: int, given: tuple[str, ...], now_ms: int) -> None:
        """Ask for the rest of the reply, behind the sentences that were published."""
        text = self._session.turns[turn].text
        if text:
            segments_so_far = self._session.turns[turn].segments.values()
            spoken = tuple(one.text for one in segments_so_far if one.kind == "reply")
            pieces = self._models.pieces(self._ask(text), spoken)
        elif not given:
            pieces = segments(recite(self._call.agent.greeting))
        else:  # a greeting is published whole, or its owner died within a millisecond
            self._publish(SentenceReady(turn=turn, segment=len(given), text="", last=True, now_ms=now_ms))
            return
        self._replies[turn] = self._call.spawn(self._speak(turn, pieces, None, first=len(given)))

    # --- decisions ----------------------------------------------------------------------------------------------

    def _step(self, event: states.TurnInput, cause: Cause | None) -> None:
        now_ms = self._call.now_ms()
        self._state, actions = turns.step(self._state, event, now_ms)
        for action in actions:
            self._perform(action, cause, now_ms)
        self._alarm.set(self._state.deadline_ms)
        self._generate_preemptively()

    def _ring(self) -> None:
        self._step(states.Deadline(), None)  # a decision without a cause is made by time

    def _perform(self, action: states.Action, cause: Cause | None, now_ms: int) -> None:
        match action:
            case states.StartTurn():
                self._start(action, cause, now_ms)
            case states.Cancel(turn, carried):
                if reply := self._replies.get(turn):
                    reply.cancel()
                reason: Literal["interrupted", "typed"] = "typed" if cause and cause.stage == INGRESS else "interrupted"
                self._publish(TurnCancelled(turn=turn, reason=reason, carried=carried, cause=cause, now_ms=now_ms))
            case states.Resume(utterance):
                missing = self._missing()
                self._publish(
                    ReplyResumed(
                        utterance=utterance, missing=missing, echo=self._echo.echoes, cause=cause, now_ms=now_ms
                    )
                )
            case states.EndTurn(turn, _, interrupted):
                self._end(turn, cause, now_ms, interrupted=interrupted)

    def _start(self, start: states.StartTurn, cause: Cause | None, now_ms: int) -> None:
        turn, text = start.turn, start.text
        draft = None if turn == states.GREETING else self._answer(self._ask(text))
        pieces = draft.pieces() if draft else segments(recite(self._call.agent.greeting))
        self._publish(
            TurnStarted(
                turn=turn,
                answers=start.answers,
                text=text,
                typed=start.typed,
                parts=self._parts(),
                missing=self._missing(),
                cause=cause,
                now_ms=now_ms,
            )
        )
        if draft:
            agent = self._call.agent
            pieces = with_waiting_notice(pieces, agent.turns.notice_after_ms, notice(agent.language))
        self._replies[turn] = speaking = self._call.spawn(self._speak(turn, pieces, cause))
        if draft:
            speaking.add_done_callback(lambda _speaking: draft.drop())

    def _end(self, turn: int, cause: Cause | None, now_ms: int, *, interrupted: bool) -> None:
        if reply := self._replies.pop(turn, None):
            reply.cancel()
        end = self._written.pop(turn, Piece(""))
        ended = TurnEnded(
            turn=turn,
            heard=history.heard(self._session, turn, self._played_ms(now_ms)),
            interrupted=interrupted,
            truncated=end.truncated,
            usage=end.usage,
            cause=cause,
            now_ms=now_ms,
        )
        if turn != states.GREETING:
            ended = replace(ended, provider=self._models.provider, model=self._models.model)
        self._publish(ended)

    def _parts(self) -> tuple[Part, ...]:
        """Return the utterances and texts that the turn answers which has just started."""
        state = self._state
        answered = state.turn.answered if isinstance(state, states.Thinking | states.Held) else ()
        return tuple(Part(utterance.number, utterance.typed) for utterance in answered)

    def _missing(self) -> tuple[Missing, ...]:
        return tuple(Missing(utterance.number, utterance.text) for utterance in self._state.memory.missing)

    # --- replies ------------------------------------------------------------------------------------------------

    def _ask(self, text: str) -> ReplyRequest:
        messages = conversation(history.conversation(self._session, self._played_ms(self._call.now_ms())))
        agent = self._call.agent
        return ReplyRequest(self._call.id, agent.prompt, text, messages, choose(agent.facts, text, messages))

    def _answer(self, request: ReplyRequest) -> Draft:
        """Return the draft if it was begun with this very request, else a new one."""
        draft, self._draft, self._drafts = self._draft, None, 0
        if draft and draft.request == request and not draft.failed:
            return draft
        if draft:
            self._drop(draft)
        return self._begin(request)

    def _generate_preemptively(self) -> None:
        """Begin the reply in a pause that may be the end of the turn; drop a draft once the caller has gone on."""
        text = self._state.foreseen if self._call.agent.turns.preemptive_generation else ""
        if self._draft and self._draft.request.utterance != text:
            self._drop(self._draft)
            self._draft = None
        if text and not self._draft and self._drafts < MOST_DRAFTS:
            self._drafts += 1
            self._draft = self._begin(self._ask(text))

    def _begin(self, request: ReplyRequest) -> Draft:
        return Draft(request, self._models.pieces(request), self._call.spawn)

    def _drop(self, draft: Draft) -> None:
        draft.drop()
        self._call.count("draft_dropped")

    async def _speak(self, turn: int, pieces: AsyncGenerator[Piece, None], cause: Cause | None, first: int = 0) -> None:
        """Publish the reply from segment `first` on, until it ends or the task is cancelled."""
        clock = asyncio.get_running_loop()
        began_s = clock.time()
        segment = first
        async with aclosing(pieces):
            async for piece in pieces:
                if piece.failure:
                    self._publish(provider_failed(turn, Failure(piece.provider, piece.failure, piece.next)))
                    continue
                token_ms = _first_token_ms(piece, began_s) if segment == 0 and turn != states.GREETING else None
                last = piece.last or segment >= KEEP_SEGMENTS - 1
                if last:
                    self._written[turn] = piece if piece.last else piece._replace(truncated=True)
                self._publish(
                    SentenceReady(
                        turn=turn,
                        segment=segment,
                        text=piece.text,
                        last=last,
                        kind=piece.kind,
                        first_token_ms=token_ms,
                        cause=cause,
                        now_ms=self._call.now_ms(),
                    )
                )
                segment += 1
                if last:
                    return


def provider_failed(turn: int, failure: Failure) -> LlmProviderFailed:
    """Return the event. turn: 0 for a failure as the session opened."""
    provider, error, upcoming = failure
    return LlmProviderFailed(
        turn=turn,
        provider=provider,
        kind=error.kind,
        message=str(error),
        retryable=error.retryable,
        next=upcoming,
    )


STAGE = Conversation


@asynccontextmanager
async def open_worker(providers: Providers[LanguageModelProvider]) -> AsyncIterator[Providers[LanguageModelProvider]]:
    """Yield what the sessions of a worker share: the language models."""
    yield providers


@asynccontextmanager
async def open_session(call: StageContext, providers: Providers[LanguageModelProvider]) -> AsyncIterator[Conversation]:
    """Yield the conversation of `call`. Raises ProviderMissing or ProviderError if no model opens."""
    chain = ProviderChain(providers, call.agent, call.agent.llm, _open)
    async with chain:
        first = await chain.open_first(lambda failure: _publish_failure(call, failure))
        conversation = Conversation(call, Replies(chain, first))
        try:
            yield conversation
        finally:
            conversation.finish()


def _open(provider: LanguageModelProvider, options: Mapping[str, Any]) -> AbstractAsyncContextManager[LanguageModel]:
    return provider.open(dict(options))


def _publish_failure(call: StageContext, failure: Failure) -> None:
    call.publish(provider_failed(0, failure))


def _cause(event: Event) -> Cause:
    return Cause(events.stage(event), event.epoch, event.seq)


def _first_token_ms(piece: Piece, began_s: float) -> int | None:
    if piece.first_token_s is None:
        return None
    return max(0, round((piece.first_token_s - began_s) * 1000))  # of a draft it may have come before the turn
