"""PCM16 at other sample rates."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy


def resample(blocks: Iterator[bytes], from_hz: int, to_hz: int) -> Iterator[bytes]:
    """Yield PCM16 mono at another rate, block by block. The number of samples is right to one sample."""
    import numpy
    import soxr

    resampler = soxr.ResampleStream(from_hz, to_hz, 1, dtype="float32")
    for block in blocks:
        yield to_pcm16(resampler.resample_chunk(numpy.frombuffer(block, "<i2").astype("float32") / 32768))
    yield to_pcm16(resampler.resample_chunk(numpy.zeros(0, "float32"), last=True))


def to_pcm16(samples: "numpy.ndarray[Any, Any]") -> bytes:
    """Return float samples of -1 to 1 as PCM16, clipped."""
    import numpy

    clean = numpy.nan_to_num(samples, nan=0.0, posinf=1.0, neginf=-1.0)  # float files may hold anything
    return bytes((numpy.clip(numpy.round(clean * 32768), -32768, 32767)).astype("<i2").tobytes())
