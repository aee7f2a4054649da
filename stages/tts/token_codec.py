"""Text as tones: a voice whose words can be read back from the samples alone, to prove what a caller heard.

Every 20 ms is one pure tone: first one that begins a text, then two for each byte of UTF-8, its high and its low half,
each from a set of its own. So whoever comes in late finds the bytes at once, a frame that is lost or repeated shows,
and a hole between two frames costs nothing. 25 bytes a second is about the pace of speech. All tones have whole periods
in 20 ms, so that they are orthogonal there and adjoining frames meet at zero.
"""

import codecs
from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt

from schemas.audio import AGENT_FRAME_BYTES, AGENT_HZ, FRAME_MS, SAMPLE_BYTES

AMPLITUDE = 8_000  # -12 dBFS: loud for any level meter, far from clipping after resampling

_FRAMES_PER_S = 1000 // FRAME_MS
_HIGH, _LOW, _BEGIN = 0, 16, 32  # symbols: 16 high halves, 16 low halves, the tone that begins a text
_TONES_HZ = 400 + 100 * np.arange(_BEGIN + 1)  # to 3600 Hz, which a telephone line still carries
_SILENT = 300  # samples below are silence
_HOLE_S = 0.002  # this long below is a hole and no zero crossing: half a period of the lowest tone is 1.25 ms
_PURE = 0.5  # of a frame's energy in one tone; anything else is no tone of ours
_INVALID = 0xFF  # never part of UTF-8


def _wave(hz: float, rate: int) -> npt.NDArray[np.float64]:
    return np.sin(2 * np.pi * hz * np.arange(rate // _FRAMES_PER_S) / rate)


_HUM = (AMPLITUDE * _wave(200.0, AGENT_HZ)).astype("<i2").tobytes()  # below all tones of text
_FRAMES = [(AMPLITUDE * _wave(float(hz), AGENT_HZ)).astype("<i2").tobytes() for hz in _TONES_HZ]


def encode(text: str) -> bytes:
    """PCM16 mono at 24 kHz, whole frames of 20 ms: one, and two for each byte of `text`."""
    data = text.encode()
    return _FRAMES[_BEGIN] + b"".join(_FRAMES[_HIGH + (byte >> 4)] + _FRAMES[_LOW + (byte & 15)] for byte in data)


def hum(duration_ms: int) -> bytes:
    """A steady sound that says nothing: PCM16 mono at 24 kHz of this length, to the sample."""
    size = duration_ms * AGENT_HZ // 1000 * SAMPLE_BYTES
    return (_HUM * (size // len(_HUM) + 1))[:size]


def decode(pcm: bytes, rate: int = AGENT_HZ) -> str:
    """The texts in PCM16 mono, joined by spaces; the last may be as much of one as was heard."""
    return " ".join(texts(pcm, rate))


def decode_frames(frames: Iterable[bytes]) -> str:
    """The same of the frames of 20 ms at 24 kHz that were heard so far."""
    return decode(b"".join(frame.ljust(AGENT_FRAME_BYTES, b"\0") for frame in frames))


def texts(pcm: bytes, rate: int = AGENT_HZ) -> list[str]:
    """Every text that begins in PCM16 mono, or that it begins within; a byte that was cut off at an end is left out."""
    found: list[bytearray] = []
    high: int | None = None
    for symbol in _symbols(np.frombuffer(pcm, dtype="<i2").astype(np.float32), rate):
        if symbol == _BEGIN or not found:
            found.append(bytearray())
            high = None
        if symbol < _LOW:
            if high is not None:
                found[-1].append(_INVALID)
            high = symbol
        elif symbol < _BEGIN:
            found[-1].append(_INVALID if high is None else high << 4 | symbol - _LOW)
            high = None
    return [codecs.getincrementaldecoder("utf-8")("replace").decode(bytes(data)) for data in found]


def _symbols(samples: npt.NDArray[np.float32], rate: int) -> Iterator[int]:
    """The tone of each 20 ms that is one, in order. A stretch of sound begins with a frame."""
    size = rate // _FRAMES_PER_S
    period = 2 * np.pi * np.outer(_TONES_HZ, np.arange(size)) / rate
    sines, cosines = np.sin(period).T.astype(np.float32), np.cos(period).T.astype(np.float32)
    for start, end in _stretches(samples, rate):
        count = round((end - start) / size)
        stretch = np.zeros(count * size, np.float32)
        part = samples[start : start + count * size]
        stretch[: len(part)] = part
        frames = stretch.reshape(count, size)
        power = (frames @ sines) ** 2 + (frames @ cosines) ** 2
        whole = (frames**2).sum(axis=1) * size / 2  # the power of a pure tone with this energy
        for best, strongest, energy in zip(power.argmax(axis=1), power.max(axis=1), whole, strict=True):
            if strongest > _PURE * energy:
                yield int(best)


def _stretches(samples: npt.NDArray[np.float32], rate: int) -> list[tuple[int, int]]:
    """Where sound begins and ends, between holes."""
    sounding = np.flatnonzero(np.abs(samples) > _SILENT)
    if not len(sounding):
        return []
    holes = np.flatnonzero(np.diff(sounding) > _HOLE_S * rate)
    starts = sounding[np.concatenate(([0], holes + 1))]
    ends = sounding[np.concatenate((holes, [len(sounding) - 1]))] + 1
    return [(int(start), int(end)) for start, end in zip(starts, ends, strict=True)]
