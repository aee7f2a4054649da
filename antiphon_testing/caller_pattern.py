"""The audio of a simulated caller: vowels that voice activity detection takes for speech, by a pattern of turns."""

import math
from array import array
from collections.abc import Iterator, Mapping
from functools import cache
from itertools import chain, cycle, islice, repeat

import msgspec

from schemas.audio import CALLER_FRAME_BYTES, CALLER_HZ, FRAME_MS, SAMPLE_BYTES

SILENT_FRAME = bytes(CALLER_FRAME_BYTES)
PITCH_HZ = 150  # whole periods in a frame: frames join without a click
VOWELS = (  # resonances of the mouth in "a", "i", "u": Hz, width in Hz, strength
    ((750, 90, 1.0), (1200, 110, 0.6), (2600, 160, 0.3)),
    ((300, 70, 1.0), (2200, 110, 0.4), (3000, 160, 0.3)),
    ((350, 80, 1.0), (800, 100, 0.5), (2400, 150, 0.1)),
)
FRAMES_A_VOWEL = 5  # ten vowels a second: voice activity detection takes a longer vowel for a hum
LOUDEST_HZ = 4_000  # no overtone above is needed to resemble a voice
PEAK = 8_192  # a quarter of full scale


class CallerPattern(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """When a simulated caller speaks: `turns` times `speech_ms` of sound, one each `every_ms`.

    start_ms, linger_ms: silence before the first turn and after the last, so that the last answer plays to its end.
    """

    speech_ms: int = 500
    every_ms: int = 1_100
    turns: int = 1
    start_ms: int = 500
    linger_ms: int = 3_000


def simulate(options: Mapping[str, int]) -> Iterator[bytes]:
    """Return the frames of the caller that the options of a claim describe. Raises ValueError for other options."""
    return frames(msgspec.convert(options, CallerPattern))


def frames(pattern: CallerPattern) -> Iterator[bytes]:
    """Return the caller's audio: PCM16 mono at 16 kHz in frames of 20 ms."""
    speech = pattern.speech_ms // FRAME_MS
    pause = max(1, pattern.every_ms // FRAME_MS - speech)
    sound = chain.from_iterable(repeat(vowel, FRAMES_A_VOWEL) for vowel in cycle(vowels()))
    turn = [*islice(sound, speech), *repeat(SILENT_FRAME, pause)]
    return chain(
        repeat(SILENT_FRAME, pattern.start_ms // FRAME_MS),
        chain.from_iterable(repeat(turn, pattern.turns)),
        repeat(SILENT_FRAME, pattern.linger_ms // FRAME_MS),
    )


@cache
def vowels() -> tuple[bytes, ...]:
    """Return one frame of each vowel."""
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
