"""The conversation of one call: feeds the turn machine, and does what it decides."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import ClassVar

from msgspec.structs import replace

from schemas import events
from schemas.events import (
    Cause,
    Event,
    LlmProviderFailed,
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
from session.history import History
from stages.llm import states, turns
from stages.llm.contract import LanguageModel, LanguageModelProvider, ReplyRequest
from stages.llm.draft import Draft
from stages.llm.fact_retrieval import choose
from stages.llm.prompt import conversation
from stages.llm.reply import Piece, ask, recite, segments
from stages.llm.utterances import Heard
from stages.runtime.context import StageContext
from stages.runtime.providers import ProviderError, Providers
from stages.runtime.stage import handles

MOST_DRAFTS = 3  # a turn: a caller who pauses again and again is not worth a model's work each time


class Conversation:
    """Decides whose turn it is and what the agent says in it; knows what the caller has heard."""

    publishes: ClassVar[tuple[type[Event], ...]] = (
        TurnStarted,
        SentenceReady,
        ReplyResumed,
        TurnCancelled,
        TurnEnded,
        LlmProviderFailed,
    )

    def __init__(self, call: StageContext, model: LanguageModel) -> None:
        self._call = call
        self._model = model
        self._history = History()
        self._state: states.State = turns.opening(call.agent.turns, greeting=bool(call.agent.greeting.strip()))
        self._alarm_ms: int | None = None  # when the last alarm that was set will ring
        self._draft: Draft | None = None  # of the answer to what the caller may have finished saying
        self._drafts = 0  # begun since the last turn
        self._unended: dict[int, asyncio.Task[None]] = {}  # turn -> its reply, until the turn is history
        self._written: dict[
            int, Piece
        ] = {}  # turn -> the end of its reply, which says what it cost and whether it is whole

    # --- what it hears ------------------------------------------------------------------------------------------

    @handles(SessionOpened, SpeechStarted, SpeechEnded, TranscriptInterim, TranscriptFinal, TextReceived)
    def follow(self, event: SessionOpened | Heard | TextReceived) -> None:
        """The caller."""
        self._step(event, _cause(event))

    @handles(PlaybackStarted, Resumed)
    def play(self, event: PlaybackStarted | Resumed) -> None:
        """The agent is being heard, unless the hold that was lifted had come before its first sound."""
        if isinstance(event, PlaybackStarted) or event.heard_ms > 0:
            self._history.play(event.turn, self._call.now_ms())
        self._step(event, _cause(event))

    @handles(Paused)
    def pause(self, paused: Paused) -> None:
        """The agent fell silent; what the caller's sound means, the machine learns from stt."""
        self._history.stop(paused.turn, paused.heard_ms)

    @handles(PlaybackEnded)
    def end(self, ended: PlaybackEnded) -> None:
        """The agent has been heard."""
        self._history.stop(ended.turn, ended.heard_ms)
        self._step(ended, _cause(ended))

    @handles(SegmentSynthesized)
    def measure(self, spoken: SegmentSynthesized) -> None:
        """How long a segment sounds: what a position in the turn means."""
        self._history.measure(spoken.turn, spoken.segment, spoken.duration_ms, spoken.words)

    def finish(self) -> None:
        """The call is over: every turn that has not ended ends with what was heard of it."""
        now_ms = self._call.now_ms()
        for turn in sorted(self._unended):
            self._end(turn, None, now_ms, interrupted=True)

    # --- what it decides ----------------------------------------------------------------------------------------

    def _step(self, event: states.TurnInput, cause: Cause | None) -> None:
        now_ms = self._call.now_ms()
        self._state, actions = turns.step(self._state, event, now_ms)
        for action in actions:
            self._perform(action, cause, now_ms)
        due_ms = self._state.deadline_ms
        if due_ms is not None and due_ms != self._alarm_ms:  # an alarm that is no longer needed rings and does no harm
            self._alarm_ms = due_ms
            self._call.later(max(0, due_ms - now_ms), self._ring)
        self._generate_preemptively()

    def _ring(self) -> None:
        self._alarm_ms = None
        self._step(states.Deadline(), None)  # a decision without a cause is one that time made

    def _perform(self, action: states.Action, cause: Cause | None, now_ms: int) -> None:
        match action:
            case states.StartTurn():
                self._start(action, cause, now_ms)
            case states.Cancel(turn, carried):
                self._unended[turn].cancel()
                self._history.interrupt(turn, carried=carried)
                self._call.publish(TurnCancelled(turn=turn, cause=cause, now_ms=now_ms))
            case states.Resume(utterance):
                self._call.publish(ReplyResumed(utterance=utterance, cause=cause, now_ms=now_ms))
            case states.EndTurn(turn, _, interrupted):
                self._end(turn, cause, now_ms, interrupted=interrupted)

    def _start(self, start: states.StartTurn, cause: Cause | None, now_ms: int) -> None:
        turn, text = start.turn, start.text
        draft = None if turn == states.GREETING else self._answer(self._ask(text))
        pieces = draft.pieces() if draft else segments(recite(self._call.agent.greeting))
        self._history.start(turn, text)
        started = TurnStarted(
            turn=turn, answers=start.answers, text=text, typed=start.typed, cause=cause, now_ms=now_ms
        )
        self._call.publish(started)
        self._unended[turn] = speaking = self._call.spawn(self._speak(turn, pieces, cause))
        if draft:
            speaking.add_done_callback(lambda _speaking: draft.drop())

    def _end(self, turn: int, cause: Cause | None, now_ms: int, *, interrupted: bool) -> None:
        if interrupted:
            self._history.interrupt(turn)
        self._unended.pop(turn).cancel()
        heard = self._history.heard(turn, now_ms)
        end = self._written.pop(turn, Piece(""))
        ended = TurnEnded(
            turn=turn,
            heard=heard,
            interrupted=interrupted,
            truncated=end.truncated,
            usage=end.usage,
            cause=cause,
            now_ms=now_ms,
        )
        if turn != states.GREETING:
            ended = replace(ended, provider=self._call.agent.llm.provider, model=self._model.model)
        self._call.publish(ended)

    # --- what it says -------------------------------------------------------------------------------------------

    def _ask(self, text: str) -> ReplyRequest:
        history = conversation(self._history.turns.values(), self._call.now_ms())
        agent = self._call.agent
        return ReplyRequest(self._call.id, agent.prompt, text, history, choose(agent.facts, text, history))

    def _answer(self, request: ReplyRequest) -> Draft:
        """The draft, if it was begun with just this request; else a new one."""
        draft, self._draft, self._drafts = self._draft, None, 0
        if draft and draft.request == request and not draft.failed:
            return draft
        if draft:
            self._drop(draft)
        return self._begin(request)

    def _generate_preemptively(self) -> None:
        """Begin the answer in a pause that may be the end of the turn; drop the one to words that were not all."""
        text = self._state.foreseen if self._call.agent.turns.preemptive_generation else ""
        if self._draft and self._draft.request.utterance != text:
            self._drop(self._draft)
            self._draft = None
        if text and not self._draft and self._drafts < MOST_DRAFTS:
            self._drafts += 1
            self._draft = self._begin(self._ask(text))

    def _begin(self, request: ReplyRequest) -> Draft:
        return Draft(request, ask(self._model, request), self._call.spawn)

    def _drop(self, draft: Draft) -> None:
        draft.drop()
        self._call.count("draft_dropped")

    async def _speak(self, turn: int, pieces: AsyncGenerator[Piece, None], cause: Cause | None) -> None:
        """Says the reply segment by segment, until it ends or the task is cancelled."""
        clock = asyncio.get_running_loop()
        began_s = clock.time()
        segment = 0
        async with aclosing(pieces):
            async for piece in pieces:
                if piece.failure:
                    self._fail(turn, piece.failure)
                    continue
                token_ms = _first_token_ms(piece, began_s) if segment == 0 and turn != states.GREETING else None
                if piece.last:
                    self._written[turn] = piece
                self._history.say(turn, segment, piece.text if piece.kind == "reply" else "")
                self._call.publish(
                    SentenceReady(
                        turn=turn,
                        segment=segment,
                        text=piece.text,
                        last=piece.last,
                        kind=piece.kind,
                        first_token_ms=token_ms,
                        cause=cause,
                        now_ms=self._call.now_ms(),
                    )
                )
                segment += 1

    def _fail(self, turn: int, error: ProviderError) -> None:
        self._call.publish(
            LlmProviderFailed(
                turn=turn,
                provider=self._call.agent.llm.provider,
                kind=error.kind,
                message=str(error),
                retryable=error.retryable,
            )
        )


STAGE = Conversation


@asynccontextmanager
async def open_worker(providers: Providers[LanguageModelProvider]) -> AsyncIterator[Providers[LanguageModelProvider]]:
    """What the calls of a worker share: the language models."""
    yield providers


@asynccontextmanager
async def open_session(call: StageContext, providers: Providers[LanguageModelProvider]) -> AsyncIterator[Conversation]:
    """The conversation of `call`. Raises ProviderMissing or ProviderError if its model cannot be had."""
    provider = await providers.get(call.agent.llm.provider)
    async with provider.open(call.agent.llm.options) as model:
        conversation = Conversation(call, model)
        try:
            yield conversation
        finally:
            conversation.finish()


def _cause(event: Event) -> Cause:
    return Cause(events.stage(event), event.epoch, event.seq)


def _first_token_ms(piece: Piece, began_s: float) -> int | None:
    if piece.first_token_s is None:
        return None
    return max(0, round((piece.first_token_s - began_s) * 1000))  # of a draft it may have come before the turn
