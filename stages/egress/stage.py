"""The caller's ear: paces the answer to the caller, falls silent when the caller speaks, says what was heard."""

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
from stages.egress.pacing import Action, Pacing
from stages.egress.reply import Piece
from stages.runtime.context import StageContext
from stages.runtime.providers import Provider, Providers
from stages.runtime.stage import handles
from transports.outputs import open_output
from transports.transport import CallerOutput


class Ticker:
    """One timer for all calls of the worker that sound now; when none does, there is none."""

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
        """Its call is over."""
        self._sounding.discard(playback)

    @property
    def idle(self) -> bool:
        """Whether nothing sounds and no timer runs."""
        return self._timer is None

    def _tick(self) -> None:
        self._timer = None
        if not self._sounding:
            return
        loop = asyncio.get_running_loop()
        self._timer = loop.call_at(loop.time() + FRAME_MS / 1000, self._tick)
        for playback in tuple(self._sounding):
            playback.tick()


class Playback:
    """Plays the answers of one call."""

    publishes: ClassVar[tuple[type[Event], ...]] = (PlaybackStarted, Paused, Resumed, PlaybackEnded)

    def __init__(self, call: StageContext, output: CallerOutput, ticker: Ticker) -> None:
        self._call = call
        self._output = output
        self._ticker = ticker
        self._pacing = Pacing()
        self._woken_at: float | None = None

    @property
    def playhead(self) -> Playhead:
        """How far the caller has heard the turn that has the floor; it goes out with the worker's heartbeat."""
        return self._pacing.playhead

    def on_audio(self, frame: Frame) -> None:
        """A chunk of the answer: its first one goes out at once."""
        if frame.rate != AGENT_HZ:
            self._call.count("wrong_rate")
        elif self._pacing.hear_audio(frame.pcm, frame.turn, frame.segment, frame.flags):
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
        self._advance()

    @handles(SessionOpened, TranscriptInterim, TranscriptFinal, SentenceReady, TurnEnded)
    def show(self, said: Event) -> None:
        """Words and what the agent is about, for callers who see them."""
        self._output.show(said)

    def tick(self) -> None:
        """20 ms have passed; what fails here ends this call and no other."""
        self._call.guard(self._advance)

    def close(self) -> None:
        """The call is over: say what was heard."""
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
        wake_ms = self._pacing.wake_ms(now_ms)
        if wake_ms is not None and wake_ms != self._woken_at:  # a timer that is no longer needed does no harm
            self._woken_at = wake_ms
            self._call.later(max(wake_ms - now_ms, 1), self._wake)

    def _wake(self) -> None:
        self._woken_at = None  # a timer may fire a little early: then another is set
        self._advance()

    def _do(self, actions: list[Action]) -> None:
        for action in actions:
            if isinstance(action, Piece):
                self._output.play(action.pcm, action.turn, action.segment, action.flags)
            elif isinstance(action, Event):
                self._output.show(self._call.publish(action))
            else:
                self._output.clear()


STAGE = Playback


@asynccontextmanager
async def open_worker(providers: Providers[Provider]) -> AsyncIterator[Ticker]:
    """What the calls of a worker share: the ticker. Egress has no vendors."""
    yield Ticker()


@asynccontextmanager
async def open_session(call: StageContext, ticker: Ticker) -> AsyncIterator[Playback]:
    """The playback of one call; says what was heard when it closes."""
    async with open_output(call.transport, call) as output:
        playback = Playback(call, output, ticker)
        try:
            yield playback
        finally:
            playback.close()
