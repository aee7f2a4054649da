"""Sends the agent's audio to egress in chunks of at most 100 ms, at most 5 s ahead of playback."""

import asyncio
from collections import deque
from typing import NamedTuple

from schemas.audio import AGENT_HZ, SAMPLE_BYTES, ms_to_bytes
from schemas.events import Paused, PlaybackStarted, Resumed
from schemas.media import MAX_CHUNK_MS, Flag
from schemas.subjects import EGRESS
from stages.runtime.context import StageContext
from stages.tts.credit import Credit

OWNER_WITHIN_S = 5.0  # llm may publish a sentence before ingress publishes the worker that owns egress
LOOK_AGAIN_S = 10.0  # the longest single wait for credit: a hold of the caller may last longer, and egress ends it

KEEP_MS = 30_000  # egress may have no owner for 20 s; meanwhile the credit of 5 s runs on

_CHUNK_BYTES = ms_to_bytes(MAX_CHUNK_MS, AGENT_HZ)


class Chunk(NamedTuple):
    """A chunk of the turn. at: its first sample, counted from the beginning of the turn."""

    segment: int
    pcm: bytes
    flags: int
    at: int

    @property
    def until(self) -> int:
        return self.at + len(self.pcm) // SAMPLE_BYTES


class AgentAudio:
    """The audio of one session on its way to egress.

    A segment ends with an empty chunk that carries its flags, so no audio waits until it is known what follows.
    The audio of the turn is kept: a new owner of egress has none of what the caller has not heard.
    """

    def __init__(self, session: StageContext) -> None:
        self._session = session
        self._turn = 0
        self._credit = Credit()
        self._changed = asyncio.Event()  # the credit, or the owner of egress
        self._at = 0  # samples of the turn
        self._kept: deque[Chunk] = deque()  # of the turn, the newest KEEP_MS
        self._unsent: deque[Chunk] = deque()  # to be sent again, before anything new
        self._sending: asyncio.Task[None] | None = None  # sends `_unsent`

    def begin(self, turn: int, at_ms: int = 0) -> None:
        """Begin a turn, whose credit starts anew. at_ms: of the turn, where its first audio lies."""
        self.end(self._turn)
        self._turn, self._credit = turn, Credit()
        self._at = at_ms * AGENT_HZ // 1000
        self._credit.move(at_ms)

    def end(self, turn: int) -> None:
        """Forget the audio of a turn that was cancelled, or played to its end."""
        if turn == self._turn:
            self._kept.clear()
            self._unsent.clear()

    def go_on(self, heard_ms: int, *, paused: bool) -> None:
        """Take the position of a turn that the caller hears from a snapshot. paused: egress holds it now."""
        self._credit.started(self._session.now_ms())
        if paused:
            self._credit.paused(heard_ms)
        else:
            self._credit.resumed(heard_ms, self._session.now_ms())

    async def egress_known(self) -> None:
        """Return once the worker that owns egress is known. Raises TimeoutError, which ends the session."""
        if EGRESS in self._session.owners:  # setting a deadline takes 10 us, and the caller waits for the first audio
            return
        try:
            async with asyncio.timeout(OWNER_WITHIN_S):
                while EGRESS not in self._session.owners:
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise TimeoutError(
                f"cannot send audio: ingress did not publish the owner of egress within {OWNER_WITHIN_S:g} s"
            ) from None

    async def send(self, turn: int, segment: int, pcm: bytes, *, first: bool) -> None:
        """Send PCM16 mono at 24 kHz of any length, each 100 ms as soon as the credit allows it.

        first: `pcm` is the beginning of the segment.
        """
        for start in range(0, len(pcm), _CHUNK_BYTES):
            await self._sent_again()
            await self._credit_left()
            flags = Flag.FIRST_OF_SEGMENT if first and start == 0 else Flag.NONE
            self._send(turn, segment, pcm[start : start + _CHUNK_BYTES], flags)

    def end_segment(self, turn: int, segment: int, *, last_of_turn: bool) -> None:
        """Send the flags that end a segment, and the turn if the segment is its last."""
        flags = Flag.LAST_OF_SEGMENT | Flag.LAST_OF_TURN if last_of_turn else Flag.LAST_OF_SEGMENT
        self._send(turn, segment, b"", flags)

    def follow(self, playback: PlaybackStarted | Paused | Resumed) -> None:
        """Follow how far the caller has heard the current turn."""
        if playback.turn != self._turn:
            return
        if isinstance(playback, Paused):
            self._credit.paused(playback.heard_ms)
        elif isinstance(playback, Resumed):
            self._credit.resumed(playback.heard_ms, self._session.now_ms())
        else:
            self._credit.started(self._session.now_ms())
        self._changed.set()

    def owners_changed(self) -> None:
        """Look again which worker owns egress."""
        self._changed.set()

    def send_again(self, turn: int, heard_ms: int) -> None:
        """Send a new owner of egress the audio that the caller has not heard. turn: of which `heard_ms` were heard."""
        at_ms = heard_ms if turn == self._turn else 0
        first = at_ms * AGENT_HZ // 1000
        self._credit.move(at_ms)
        self._unsent = deque(_behind(chunk, first) for chunk in self._kept if chunk.until >= first)
        if self._unsent and (self._sending is None or self._sending.done()):
            self._sending = self._session.spawn(self._send_unsent())

    async def _send_unsent(self) -> None:
        while self._unsent:
            await self._credit_left()
            if self._unsent:  # the turn may have been cancelled meanwhile
                self._deliver(self._unsent.popleft())

    async def _sent_again(self) -> None:
        if self._sending is not None and not self._sending.done():
            await asyncio.wait([self._sending])

    def _send(self, turn: int, segment: int, pcm: bytes, flags: int) -> None:
        if turn != self._turn:
            return
        chunk = Chunk(segment, pcm, flags, self._at)
        self._at = chunk.until
        self._kept.append(chunk)
        while self._kept and chunk.until - self._kept[0].until > KEEP_MS * AGENT_HZ // 1000:
            self._kept.popleft()
        if self._unsent:
            self._unsent.append(chunk)
        else:
            self._deliver(chunk)

    def _deliver(self, chunk: Chunk) -> None:
        segment, pcm, flags, at = chunk
        self._credit.spend(len(pcm) // SAMPLE_BYTES * 1000 / AGENT_HZ, self._session.now_ms())
        egress = self._session.owners[EGRESS].worker
        self._session.send(egress, pcm, AGENT_HZ, at=at, turn=self._turn, segment=segment, flags=flags)

    async def _credit_left(self) -> None:
        """Return when less than 5 s are ahead of playback. There is no deadline: a hold lasts until egress ends it."""
        while (wait_ms := self._credit.wait_ms(self._session.now_ms())) > 0:
            self._changed.clear()
            try:
                async with asyncio.timeout(min(wait_ms / 1000, LOOK_AGAIN_S)):
                    await self._changed.wait()
            except TimeoutError:
                continue


def _behind(chunk: Chunk, first: int) -> Chunk:
    """Return the chunk without its samples before `first`."""
    late = max(0, first - chunk.at)
    return Chunk(chunk.segment, chunk.pcm[late * SAMPLE_BYTES :], chunk.flags, chunk.at + late)
