"""Sends the agent's audio to egress in chunks of at most 100 ms, at most 5 s ahead of playback."""

import asyncio

from schemas.audio import AGENT_HZ, SAMPLE_BYTES, ms_to_bytes
from schemas.events import Paused, PlaybackStarted, Resumed
from schemas.media import MAX_CHUNK_MS, Flag
from schemas.subjects import EGRESS
from stages.runtime.context import StageContext
from stages.tts.credit import Credit

OWNER_WITHIN_S = 5.0  # llm may publish a sentence before ingress publishes the worker that owns egress
LOOK_AGAIN_S = 10.0  # the longest single wait for credit: a hold of the caller may last longer, and egress ends it

_CHUNK_BYTES = ms_to_bytes(MAX_CHUNK_MS, AGENT_HZ)


class AgentAudio:
    """The audio of one session on its way to egress.

    A segment ends with an empty chunk that carries its flags, so no audio waits until it is known what follows.
    """

    def __init__(self, session: StageContext) -> None:
        self._session = session
        self._turn = 0
        self._credit = Credit()
        self._changed = asyncio.Event()  # the credit, or the owner of egress
        self._at = 0  # samples sent in the session

    def begin(self, turn: int) -> None:
        """Begin a turn, whose credit starts anew."""
        self._turn, self._credit = turn, Credit()

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

    def _send(self, turn: int, segment: int, pcm: bytes, flags: int) -> None:
        samples = len(pcm) // SAMPLE_BYTES
        self._credit.spend(samples * 1000 / AGENT_HZ, self._session.now_ms())
        egress = self._session.owners[EGRESS].worker
        self._session.send(egress, pcm, AGENT_HZ, at=self._at, turn=turn, segment=segment, flags=flags)
        self._at += samples

    async def _credit_left(self) -> None:
        """Return when less than 5 s are ahead of playback. There is no deadline: a hold lasts until egress ends it."""
        while (wait_ms := self._credit.wait_ms(self._session.now_ms())) > 0:
            self._changed.clear()
            try:
                async with asyncio.timeout(min(wait_ms / 1000, LOOK_AGAIN_S)):
                    await self._changed.wait()
            except TimeoutError:
                continue
