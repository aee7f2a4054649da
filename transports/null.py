"""No door at all: a caller made here who speaks by a pattern and hears nothing, for measuring the stages alone."""

import asyncio
import math
from array import array
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from itertools import chain, cycle, islice, repeat

import msgspec

from schemas.audio import CALLER_FRAME_BYTES, CALLER_HZ, FRAME_MS, SAMPLE_BYTES
from schemas.events import Event
from transports.transport import Answer, CallerInput, Refused

SILENT_FRAME = bytes(CALLER_FRAME_BYTES)
PITCH_HZ = 150  # whole periods in a frame: frames join without a click
VOWELS = (  # resonances of the mouth in "a", "i", "u": Hz, width, strength
    ((750, 90, 1.0), (1200, 110, 0.6), (2600, 160, 0.3)),
    ((300, 70, 1.0), (2200, 110, 0.4), (3000, 160, 0.3)),
    ((350, 80, 1.0), (800, 100, 0.5), (2400, 150, 0.1)),
)
FRAMES_A_VOWEL = 5  # ten vowels a second: a voice detector takes a longer one for a hum
LOUDEST_HZ = 4_000  # nothing above is needed to sound like a voice
PEAK = 8_192  # a quarter of full scale


class CallerPattern(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """When the simulated caller speaks: `turns` times `speech_ms` of sound, one each `every_ms`.

    start_ms, linger_ms: silence before the first turn and after the last, so that the last answer is heard to its end.
    """

    speech_ms: int = 500
    every_ms: int = 1_100
    turns: int = 1
    start_ms: int = 500
    linger_ms: int = 3_000


class NullOutput:
    """The speaking half: what is played goes nowhere."""

    def play(self, pcm: bytes, turn: int, segment: int, flags: int) -> None:
        """Drop 20 ms."""

    def clear(self) -> None:
        """Nothing to clear."""

    def tell(self, event: Event) -> None:
        """Nobody looks."""


async def call(answer: Answer, agent: str, session: str, pattern: CallerPattern) -> None:
    """One call from the first frame to the hang-up, at real-time pace."""
    caller = Caller(pattern)
    with suppress(Refused):
        caller.speak(await answer(agent, session, "null", caller))
        await caller.over.wait()


class Caller:
    """Speaks by a pattern: frame k at k * 20 ms, without drift. As a sink it only notes the end.

    A timer and a plain call a frame: hundreds of callers share one loop with what is measured.
    """

    def __init__(self, pattern: CallerPattern) -> None:
        self.over = asyncio.Event()
        self._frames = frames(pattern)
        self._loop = asyncio.get_running_loop()
        self._line: CallerInput
        self._due = 0.0

    def speak(self, line: CallerInput) -> None:
        """Begin."""
        self._line = line
        self._due = self._loop.time()
        self._next()

    async def ready(self) -> None:
        """Now as good as ever."""

    def pre_connect_audio(self, pcm: bytes) -> None:
        """It says nothing before."""

    def play(self, pcm: bytes) -> None:
        """Drop 20 ms."""

    def clear(self) -> None:
        """Nothing to clear."""

    def end(self, error: str = "") -> None:
        """Stop speaking."""
        self.over.set()

    def _next(self) -> None:
        self._due += FRAME_MS / 1000
        self._loop.call_at(self._due, self._say)

    def _say(self) -> None:
        if self.over.is_set():
            return
        frame = next(self._frames, None)
        if frame is None:
            self._line.hang_up()
            self.over.set()
            return
        self._line.hear(frame)
        self._next()


def frames(pattern: CallerPattern) -> Iterator[bytes]:
    """What the caller says: PCM16 mono at 16 kHz in frames of 20 ms."""
    speech = pattern.speech_ms // FRAME_MS
    pause = max(1, pattern.every_ms // FRAME_MS - speech)
    said = chain.from_iterable(repeat(vowel, FRAMES_A_VOWEL) for vowel in cycle(vowels()))
    turn = [*islice(said, speech), *repeat(SILENT_FRAME, pause)]
    return chain(
        repeat(SILENT_FRAME, pattern.start_ms // FRAME_MS),
        chain.from_iterable(repeat(turn, pattern.turns)),
        repeat(SILENT_FRAME, pattern.linger_ms // FRAME_MS),
    )


@cache
def vowels() -> tuple[bytes, ...]:
    """A frame of each vowel: what a detector of voice activity takes for speech when they follow each other."""
    return tuple(_frame(resonances) for resonances in VOWELS)


def _frame(resonances: tuple[tuple[int, int, float], ...]) -> bytes:
    overtones = [
        (hz, sum(strength / (1 + ((hz - centre) / width) ** 2) for centre, width, strength in resonances))
        for hz in range(PITCH_HZ, LOUDEST_HZ, PITCH_HZ)
    ]
    samples = [
        sum(loud * math.cos(2 * math.pi * hz * sample / CALLER_HZ + (hz / PITCH_HZ) ** 2) for hz, loud in overtones)
        for sample in range(CALLER_FRAME_BYTES // SAMPLE_BYTES)
    ]
    loudest = max(map(abs, samples))
    return array("h", [round(sample / loudest * PEAK) for sample in samples]).tobytes()
