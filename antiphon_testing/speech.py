"""Human speech: two recordings that ship with moonshine-voice, and their texts."""

import importlib.util
from functools import cache
from pathlib import Path

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from schemas.audio import CALLER_HZ

INSTALLED = importlib.util.find_spec("moonshine_voice") is not None
WHY_NOT = "moonshine-voice is not installed, and with it no recognizer and no recording: pip install -e '.[local]'"

TWO_CITIES = """It was the best of times, it was the worst of times, it was the age of wisdom, it was the age of
foolishness, it was the epoch of belief, it was the epoch of incredulity, it was the season of Light, it was the season
of Darkness, it was the spring of hope, it was the winter of despair, we had everything before us, we had nothing before
us, we were all going direct to Heaven, we were all going direct the other way - in short, the period was so far like
the present period, that some of its noisiest authorities insisted on its being received, for good or for evil, in the
superlative degree of comparison only."""

BECKETT = "Ever tried. Ever failed. No matter. Try again. Fail again. Fail better."


def path(name: str) -> Path:
    """Return the file of a recording: `two_cities` (44.4 s, 48 kHz) or `beckett` (10 s, 16 kHz)."""
    spec = importlib.util.find_spec("moonshine_voice")
    assert spec is not None, WHY_NOT
    assert spec.origin is not None
    return Path(spec.origin).parent / "assets" / f"{name}.wav"


@cache
def recording(name: str) -> bytes:
    """Return a recording as PCM16 mono at 16 kHz."""
    samples, rate = soundfile.read(path(name), dtype="float32", always_2d=True)
    resampled = soxr.resample(samples.mean(axis=1), rate, CALLER_HZ)
    return bytes((np.clip(resampled, -1, 1) * 32_767).astype("<i2"))


def onset(pcm: bytes) -> int:
    """Return the sample at which speech begins.

    Speech is 20 ms within 26 dB of the loudest 5 ms; it begins where the level first rises above that of the room.
    """
    levels = _levels(pcm)
    lasting = np.convolve(levels > _LOUD * levels.max(), np.ones(_LASTING), "valid") == _LASTING
    room = max(2 * float(np.percentile(levels, 10)), _SOUND)
    quiet = np.flatnonzero(levels[: int(np.argmax(lasting))] < room)
    return (int(quiet[-1]) + 1 if len(quiet) else 0) * _CELL


def missing_ms(pcm: bytes, line: bytes) -> int | None:
    """Return how many ms of the beginning of `pcm` are missing in `line`; None if `line` is silent.

    Compares loudness alone: a jitter buffer stretches and shortens audio.
    """
    said, came = np.log1p(_levels(pcm)), np.log1p(_levels(line))
    sounding = np.flatnonzero(came > max(np.log1p(_SOUND), said[:_LASTING].mean() - 1))
    if len(sounding) == 0:
        return None
    begins = came[sounding[0] :][:_ALIKE]
    apart = [np.abs(said[late:][: len(begins)] - begins).mean() for late in range(_LATEST)]
    return int(np.argmin(apart)) * 5


def phrases(name: str) -> list[bytes]:
    """Return the speech between two pauses, at most 2 s, with up to 100 ms of the room on both sides."""
    pcm = recording(name)
    loud = np.flatnonzero(_levels(pcm) > _LOUD * _levels(pcm).max())
    pauses = np.flatnonzero(np.diff(loud) > _PAUSE)
    pieces = []
    for first, last in zip(loud[pauses[:-1] + 1], loud[pauses[1:]], strict=True):
        start, end = (first - _ROOM) * _CELL, (last + _ROOM) * _CELL
        pieces.append(pcm[2 * start : 2 * min(end, start + 2 * CALLER_HZ)])
    return pieces


_LOUD = 0.05  # of the loudest 5 ms
_CELL = CALLER_HZ * 5 // 1000
_LASTING = CALLER_HZ * 20 // 1000 // _CELL  # shorter is a click
_PAUSE = CALLER_HZ * 250 // 1000 // _CELL
_LATEST = CALLER_HZ * 500 // 1000 // _CELL  # later parts resemble other words
_SOUND = 12  # of 32,768: Opus decodes less from silence
_ALIKE = CALLER_HZ * 300 // 1000 // _CELL  # enough to compare two sounds
_ROOM = CALLER_HZ * 100 // 1000 // _CELL


def _levels(pcm: bytes) -> NDArray[np.float64]:
    """Return the loudness of every 5 ms."""
    samples = np.frombuffer(pcm, "<i2").astype(np.float64)
    return np.asarray(np.sqrt((samples[: len(samples) // _CELL * _CELL].reshape(-1, _CELL) ** 2).mean(axis=1)))


def silence(seconds: float) -> bytes:
    """Return silence as PCM16 mono at 16 kHz."""
    return bytes(int(seconds * CALLER_HZ) * 2)
