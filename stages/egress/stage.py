"""Plays the agent's audio to the caller at its pace, holds it while the caller speaks, and publishes what was heard."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import ClassVar

from schemas.audio import AGENT_HZ, FRAME_MS
from schemas.control import Playhead
from schemas.events import (
    Event,
    Paused,
    PlaybackEnded,
    PlaybackStarted,
    ReplyResumed,
    Resumed,
    SentenceReady,
    SessionOpened,
    SpeechEnded,
    SpeechStarted,
    TranscriptFinal,
    TranscriptInterim,
    TurnCancelled,
    TurnEnded,
    TurnStarted,
)
from schemas.media import Frame
from session import recoverable
from session.entries import Turn
from session.recoverable import EgressRecoverable
from session.state import SessionState, load
from stages.egress.pacing import Action, Pacing
from stages.egress.reply import Piece
from stages.runtime.context import StageContext
from stages.runtime.providers import Provider, Providers
from stages.runtime.stage import handles
from transports.outputs import open_output
from transports.transport import CallerOutput


class Ticker:
    """One timer for all sessions of the worker that play now; while none plays, no timer runs."""

    def __init__(self) -> None:
        self._sounding: set[Playback] = set()
        self._timer: asyncio.TimerHandle | None = None

    def add(self, playback: "Playback") -> None:
        """Tick `playback` every 20 ms until it no longer sounds."""
        self._sounding.add(playback)
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_at(loop.time() + FRAME_MS / 1000, self._tick)

    def remove(self, playback: "Playback") -> None:
        """Stop ticking `playback`: nothing of it sounds any more."""
        self._sounding.discard(playback)

    def _tick(self) -> None:
        self._timer = None
        if not self._sounding:
            return
        loop = asyncio.get_running_loop()
        self._timer = loop.call_at(loop.time() + FRAME_MS / 1000, self._tick)
        for playback in tuple(self._sounding):
            playback.tick()


class Playback:
    """Plays the replies of one session."""

    publishes: ClassVar[tuple[type[Event], ...]] = (PlaybackStarted, Paused, Resumed, PlaybackEnded)

    def __init__(self, call: StageContext, output: CallerOutput, ticker: Ticker) -> None:
        self._call = call
        self._output = output
        self._ticker = ticker
        self._snapshot = load(call.snapshot)
        self._pacing = Pacing(recoverable.egress(self._snapshot), call.now_ms())
        self._wake = call.deadline(self._advance)
        self._voice = 0  # epoch of the owner of tts whose audio came last

    def take_over(self) -> None:
        """Show what the caller saw before, publish a hold again, and end turns that were cancelled."""
        state, self._snapshot = self._snapshot, SessionState()
        if state.transport:
            self._output.show(PlaybackEnded(turn=max(state.turns, default=0), heard_ms=0))  # the agent listens
        for number, turn in state.turns.items():
            if turn.active and turn.playback != "ended":
                self._show_again(number, turn)
        self._advance()

    def _show_again(self, number: int, turn: Turn) -> None:
        """Show the sentences of a turn that the caller has not heard to its end."""
        self._output.show(TurnStarted(turn=number, answers=turn.answers or 0, text=turn.text))
        for segment, sentence in turn.segments.items():
            if segment >= turn.segment:
                self._output.show(SentenceReady(turn=number, segment=segment, text=sentence.text, kind=sentence.kind))
        if turn.playback == "playing":
            self._output.show(PlaybackStarted(turn=number))

    @property
    def idle(self) -> bool:
        """Whether no turn waits or plays, and none is held."""
        recorded = self._pacing.recoverable
        return not recorded.playing and recorded.held is None

    @property
    def playhead(self) -> Playhead:
        """Return how far the caller has heard the turn that has the floor; the worker's heartbeat carries it."""
        return self._pacing.playhead

    def recoverable(self) -> EgressRecoverable:
        """Return what a new owner of this stage would start with."""
        return self._pacing.recoverable

    def on_audio(self, frame: Frame) -> None:
        """Take a chunk of the reply; the first one is sent at once."""
        if frame.rate != AGENT_HZ:
            self._call.count("wrong_rate")
            return
        if frame.epoch > self._voice:
            self._voice = frame.epoch
            self._pacing.begin_anew()
        if self._pacing.add_audio(frame.pcm, frame.turn, frame.segment, frame.flags, frame.at):
            self._advance()
        else:
            self._call.count("audio_refused")

    @handles(TurnStarted)
    def start(self, turn: TurnStarted) -> None:
        self._output.show(turn)
        self._pacing.start(turn.turn, turn.answers)
        self._advance()

    @handles(TurnCancelled)
    def cancel(self, turn: TurnCancelled) -> None:
        self._pacing.cancel(turn.turn)
        self._advance()

    @handles(SpeechStarted)
    def hold(self, speech: SpeechStarted) -> None:
        self._pacing.hold(speech.utterance)
        self._advance()

    @handles(SpeechEnded)
    def await_decision(self, speech: SpeechEnded) -> None:
        self._pacing.fell_silent(speech.utterance, self._call.now_ms())
        self._advance()

    @handles(ReplyResumed)
    def resume(self, reply: ReplyResumed) -> None:
        self._pacing.resume(reply.utterance)
        if reply.echo:
            self._pacing.expect_echo()
        self._advance()

    @handles(SessionOpened, TranscriptInterim, TranscriptFinal, SentenceReady, TurnEnded)
    def show(self, event: Event) -> None:
        """Show the caller the words and what the agent does, where the transport can."""
        self._output.show(event)

    def tick(self) -> None:
        """Advance by 20 ms; an exception ends this session and no other."""
        self._call.guard(self._advance)

    def close(self) -> None:
        """Publish what was heard: the session is over."""
        self._ticker.remove(self)
        self._do(self._pacing.close(self._call.now_ms()))
        if self._pacing.underruns:
            self._call.counters["underruns"] = self._pacing.underruns

    def _advance(self) -> None:
        now_ms = self._call.now_ms()
        self._do(self._pacing.advance(now_ms))
        if self._pacing.playing:
            self._ticker.add(self)
        else:
            self._ticker.remove(self)
        self._wake.set(self._pacing.wake_ms(now_ms))

    def _do(self, actions: list[Action]) -> None:
        for action in actions:
            if isinstance(action, Piece):
                self._output.play(action.pcm, action.turn, action.segment, action.flags, action.until)
            elif isinstance(action, Event):
                self._output.show(self._call.publish(action))
            else:
                self._output.clear()


STAGE = Playback


@asynccontextmanager
async def open_worker(providers: Providers[Provider]) -> AsyncIterator[Ticker]:
    """Yield what the sessions of a worker share: the ticker. Egress has no providers."""
    yield Ticker()


@asynccontextmanager
async def open_session(call: StageContext, ticker: Ticker) -> AsyncIterator[Playback]:
    """Yield the playback of one session, which publishes what was heard when it closes."""
    async with open_output(call.transport, call) as output:
        playback = Playback(call, output, ticker)
        try:
            yield playback
        finally:
            playback.close()
