"""Audio of any rate -> 24 kHz, chunk by chunk, without clicks at the borders of chunks."""

import numpy as np
import soxr

from schemas.audio import AGENT_HZ


class Resampler:
    """Resamples one segment. soxr's filter holds 9 to 33 ms of audio, which the last chunk brings.

    rate: samples a second of the input. At 24 kHz the audio passes unchanged.
    """

    def __init__(self, rate: int) -> None:
        self.rate = rate
        self._stream = None if rate == AGENT_HZ else soxr.ResampleStream(rate, AGENT_HZ, 1, dtype="int16")

    def convert(self, pcm: bytes, *, last: bool) -> bytes:
        """Return the PCM16 mono at 24 kHz that is ready. last: `pcm` is the end of the segment."""
        if self._stream is None:
            return pcm
        samples: np.ndarray[tuple[int], np.dtype[np.int16]] = self._stream.resample_chunk(
            np.frombuffer(pcm, "<i2"), last=last
        )
        return samples.astype("<i2").tobytes()
