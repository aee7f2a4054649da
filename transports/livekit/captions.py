"""Captions and the agent's state in a room, in the form that LiveKit's own clients expect.

The caller's words: a text stream on `lk.transcription` for every interim, the last one marked final, all with the same
segment id. The agent's words: one stream a turn, which gains a sentence when that sentence begins to sound. After an
interruption a last stream contains the text that the caller heard. The agent's state: attribute `lk.agent.state`.
"""

import asyncio
from collections.abc import Awaitable, Callable

import structlog
from livekit import rtc

from schemas.events import (
    Event,
    Paused,
    PlaybackEnded,
    PlaybackStarted,
    Resumed,
    SentenceReady,
    SessionOpened,
    TranscriptFinal,
    TranscriptInterim,
    TurnEnded,
    TurnStarted,
)
from transports.livekit.people import People, microphone

TOPIC = "lk.transcription"
STATE = "lk.agent.state"
MAX_WAITING = 100  # captions and states, a few a second; so many wait only if the server has stopped
SEND_WITHIN_S = 2.0

log = structlog.get_logger("room")

Send = Callable[[], Awaitable[None]]


class Captions:
    """The captions of one session, sent in order from a queue: a slow server delays captions and no audio."""

    def __init__(self, me: rtc.LocalParticipant, people: People, track: str) -> None:
        """track: id of the agent's track; segment ids begin with it, so that no two sessions share one."""
        self._me = me
        self._people = people
        self._track = track
        self._todo: asyncio.Queue[Send] = asyncio.Queue(MAX_WAITING)
        self._state = ""
        self._turn = 0  # the newest that started
        self._texts: dict[tuple[int, int], str] = {}  # turn, segment -> text that has not been shown
        self._sounding = (0, -1)
        self._stream: rtc.TextStreamWriter | None = None  # of the turn that sounds

    # --- from egress --------------------------------------------------------------------------------------------------

    def sounds(self, turn: int, segment: int) -> None:
        """Note that audio of this segment is played."""
        if (turn, segment) != self._sounding:
            self._sounding = turn, segment
            self._show_sentence()

    def show(self, event: Event) -> None:
        """Show an event of the session."""
        match event:
            case SessionOpened():
                self._enter("listening")
            case TranscriptInterim(utterance=utterance, text=text) if text:
                self._queue(lambda: self._caller_said(utterance, text, final=False))
            case TranscriptFinal(utterance=utterance, text=text):
                self._queue(lambda: self._caller_said(utterance, text, final=True))
            case TurnStarted(turn=turn):
                self._turn = max(turn, self._turn)
                self._enter("thinking")
            case SentenceReady(turn=turn, segment=segment, text=text) if text:
                self._texts[turn, segment] = text
                self._show_sentence()
            case PlaybackStarted() | Resumed():
                self._enter("speaking")
            case Paused():
                self._enter("listening")
            case PlaybackEnded(turn=turn) if turn >= self._turn:
                self._enter("listening")
            case TurnEnded(turn=turn, heard=heard, interrupted=interrupted):
                self._texts = {key: text for key, text in self._texts.items() if key[0] > turn}
                self._queue(lambda: self._turn_ended(turn, heard, interrupted))
                if turn >= self._turn:
                    self._enter("listening")
            case _:
                pass

    async def run(self) -> None:
        """Send from the queue until cancelled."""
        while True:
            send = await self._todo.get()
            try:
                await asyncio.wait_for(send(), SEND_WITHIN_S)
            except (rtc.StreamError, TimeoutError) as error:  # for example while the SDK reconnects
                log.info("a caption was not shown", cause=type(error).__name__)
            finally:
                self._todo.task_done()

    async def finish(self) -> None:
        """Send everything in the queue."""
        await self._todo.join()
        if self._stream:
            await self._close_stream(final=True)

    # --- to the room --------------------------------------------------------------------------------------------------

    def _queue(self, send: Send) -> None:
        if not self._todo.full():
            self._todo.put_nowait(send)

    def _enter(self, state: str) -> None:
        if state != self._state:
            self._state = state
            self._queue(lambda: self._me.set_attributes({STATE: state}))

    def _show_sentence(self) -> None:
        """Show the sentence that sounds now, once its text is known: events and audio arrive by different ways."""
        text = self._texts.pop(self._sounding, None)
        if text:
            turn, _segment = self._sounding
            self._queue(lambda: self._agent_says(turn, text))

    async def _caller_said(self, utterance: int, text: str, *, final: bool) -> None:
        caller = self._people.caller
        heard = microphone(caller) if caller else None
        if caller and heard:
            await self._write(f"{self._track}-u{utterance}", text, caller.identity, heard.sid, final=final)

    async def _agent_says(self, turn: int, text: str) -> None:
        segment = self._segment(turn)
        stream = self._stream
        if stream and stream.info.attributes and stream.info.attributes["lk.segment_id"] == segment:
            await stream.write(f" {text}")
            return
        if stream:
            await self._close_stream(final=True)
        self._stream = await self._open(segment, self._me.identity, self._track)
        await self._stream.write(text)

    async def _turn_ended(self, turn: int, heard: str, interrupted: bool) -> None:
        if self._stream is None:
            return
        await self._close_stream(final=not interrupted)
        if interrupted:
            await self._write(self._segment(turn), heard, self._me.identity, self._track, final=True)

    async def _write(self, segment: str, text: str, speaker: str, track: str, *, final: bool) -> None:
        stream = await self._open(segment, speaker, track, final=final)
        if text:
            await stream.write(text)
        await stream.aclose(attributes=_final(final))

    async def _open(self, segment: str, speaker: str, track: str, *, final: bool = False) -> rtc.TextStreamWriter:
        attributes = {"lk.segment_id": segment, "lk.transcribed_track_id": track, **_final(final)}
        return await self._me.stream_text(topic=TOPIC, sender_identity=speaker, attributes=attributes)

    async def _close_stream(self, *, final: bool) -> None:
        stream, self._stream = self._stream, None
        if stream:
            await stream.aclose(attributes=_final(final))

    def _segment(self, turn: int) -> str:
        return f"{self._track}-t{turn}"


def _final(final: bool) -> dict[str, str]:
    return {"lk.transcription_final": "true" if final else "false"}
