"""No door at all: a caller made here who speaks by a pattern and hears nothing, for measuring the stages alone."""

import asyncio
import time
from collections.abc import Iterator
from itertools import chain, repeat

from schemas.audio import CALLER_FRAME_BYTES, FRAME_MS
from schemas.control import Pattern
from transports.door import Answer, Refused

SILENT_FRAME = bytes(CALLER_FRAME_BYTES)
SPEECH_FRAME = b"\x00\x20\x00\xe0" * (CALLER_FRAME_BYTES // 4)  # a square wave of 8 kHz, a quarter of full scale


class Silence:
    """The speaking half: what is played goes nowhere."""

    def play(self, pcm: bytes, turn: int, segment: int, flags: int) -> None:
        """Drop 20 ms."""

    def clear(self) -> None:
        """Nothing to clear."""


async def call(answer: Answer, agent: str, session: str, pattern: Pattern) -> None:
    """One call from the first frame to the hang-up, at real-time pace: frame k is said at k * 20 ms, without drift."""
    sink = Deaf()
    try:
        line = await answer(agent, session, "null", sink)
    except Refused:
        return
    began = time.monotonic()
    for number, frame in enumerate(frames(pattern), start=1):
        await asyncio.sleep(began + number * FRAME_MS / 1000 - time.monotonic())
        if sink.over:
            return
        line.hear(frame)
    line.hang_up()


def frames(pattern: Pattern) -> Iterator[bytes]:
    """What the caller says: PCM16 mono at 16 kHz in frames of 20 ms."""
    speech = pattern.speech_ms // FRAME_MS
    pause = max(1, pattern.every_ms // FRAME_MS - speech)
    turn = [SPEECH_FRAME] * speech + [SILENT_FRAME] * pause
    return chain(
        repeat(SILENT_FRAME, pattern.start_ms // FRAME_MS),
        chain.from_iterable(repeat(turn, pattern.turns)),
        repeat(SILENT_FRAME, pattern.linger_ms // FRAME_MS),
    )


class Deaf:
    """The sink of a null call: egress keeps its voice to itself, so only the end comes here."""

    over = False

    def play(self, pcm: bytes) -> None:
        """Drop 20 ms."""

    def clear(self) -> None:
        """Nothing to clear."""

    def end(self, error: str = "") -> None:
        """Stop speaking."""
        self.over = True
