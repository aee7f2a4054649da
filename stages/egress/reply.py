"""The audio of one turn, cut into 20 ms frames as it comes. Pure."""

from collections import deque
from typing import NamedTuple, Self

from schemas.audio import AGENT_FRAME_BYTES, AGENT_HZ, SAMPLE_BYTES, samples_to_ms
from schemas.media import Flag
from session.recoverable import Playing

# as plain numbers: flags of an enum take longer to combine than all else that is done to a chunk
_FIRST = int(Flag.FIRST_OF_SEGMENT)
_LAST_OF_TURN = int(Flag.LAST_OF_TURN)
_LAST = int(Flag.LAST_OF_SEGMENT | Flag.LAST_OF_TURN)


class Piece(NamedTuple):
    """20 ms of PCM16 at 24 kHz.

    samples: how many of them are speech; the rest pads the end of a segment. until: their end within the turn.
    """

    pcm: bytes
    turn: int
    segment: int
    flags: int
    samples: int
    until: int


class Reply:
    """One turn: the frames that wait to be played, and how much of the turn was heard."""

    def __init__(self, turn: int) -> None:
        self.turn = turn
        self.waiting: deque[Piece] = deque()
        self.segment = 0  # the one heard last
        self.heard = 0  # samples
        self.sounded = False
        self.complete = False  # no more audio will come
        self._tail = b""
        self._tail_segment = 0
        self._at = 0  # sample of the turn at which the tail begins
        self._flags = 0
        self._ended = -1  # the newest segment whose audio came to its end
        self._from = 0  # segments below came whole from the owner of tts before

    @classmethod
    def resume(cls, left: Playing) -> Self:
        """Return a turn that was heard in part under the owner before; its audio is still to come."""
        reply = cls(left.turn)
        reply.segment, reply.sounded = left.segment, left.sounded
        reply.heard = reply._at = left.heard_ms * AGENT_HZ // 1000
        return reply

    @property
    def playing(self) -> Playing:
        """Return what a new owner would resume."""
        return Playing(self.turn, self.segment, self.heard_ms, self.sounded)

    @property
    def heard_ms(self) -> int:
        return samples_to_ms(self.heard, AGENT_HZ)

    def begin_anew(self) -> None:
        """Drop the segment that tts did not finish: its new owner sends that segment from its beginning."""
        self._from = self._ended + 1
        while self.waiting and self.waiting[-1].segment >= self._from:
            self.waiting.pop()
        self._tail = b""

    def add(self, pcm: bytes, segment: int, flags: int, at: int | None = None) -> None:
        """Cut a chunk into pieces; the last piece of a segment is padded with silence.

        at: the first sample, counted from the beginning of the turn; None for audio behind that before it.
        """
        if flags & _LAST_OF_TURN:
            self.complete = True
        if segment < self._from:
            return
        if segment != self._tail_segment:
            self._pad()
            self._tail_segment = segment
        if at is not None and not self._tail:
            self._at = at
        self._flags |= flags & _FIRST
        pcm = self._tail + pcm
        whole = len(pcm) - len(pcm) % AGENT_FRAME_BYTES
        for start in range(0, whole, AGENT_FRAME_BYTES):
            self._wait(pcm[start : start + AGENT_FRAME_BYTES], AGENT_FRAME_BYTES)
        self._tail = pcm[whole:]
        if flags & _LAST:
            self._pad()
            self._ended = segment

    def _pad(self) -> None:
        if self._tail:
            self._wait(self._tail.ljust(AGENT_FRAME_BYTES, b"\0"), len(self._tail))
            self._tail = b""

    def _wait(self, pcm: bytes, spoken: int) -> None:
        samples = spoken // SAMPLE_BYTES
        self._at += samples
        self.waiting.append(Piece(pcm, self.turn, self._tail_segment, self._flags, samples, self._at))
        self._flags = 0
