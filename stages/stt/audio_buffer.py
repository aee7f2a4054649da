"""The part of a caller's audio that is still needed, addressed by sample: pure."""

import numpy as np

from schemas.audio import CALLER_HZ, SAMPLE_BYTES

KEEP = 30 * CALLER_HZ  # the bound of caller audio everywhere: under 1 MB
LONGEST_GAP = 10 * CALLER_HZ  # of the line; after more of it what was before is of no use to what comes
LULL = CALLER_HZ * 96 // 1000  # the gap between two words


class AudioBuffer:
    """PCM16 from sample `start` to sample `end` without a hole: what is missing on the line is silence here."""

    def __init__(self) -> None:
        self.start = 0
        self._pcm = bytearray()
        self._begun = False

    @property
    def end(self) -> int:
        return self.start + len(self._pcm) // SAMPLE_BYTES

    def append(self, pcm: bytes, at: int) -> None:
        """Audio whose first sample is `at`.

        What is on the tape already stays; what is older than KEEP, or lies before a LONGEST_GAP, is forgotten.
        """
        if not self._begun:
            self.start, self._begun = at, True
        missing = at - self.end
        if missing > LONGEST_GAP:
            self._pcm.clear()
            self.start, missing = at - LONGEST_GAP, LONGEST_GAP
        self._pcm += bytes(max(0, missing) * SAMPLE_BYTES)
        self._pcm += pcm[max(0, -missing) * SAMPLE_BYTES :]
        self.forget(self.end - KEEP)

    def cut(self, start: int, until: int) -> bytes:
        """The samples from `start` to before `until`, as far as they are on the tape."""
        first, last = (max(0, sample - self.start) * SAMPLE_BYTES for sample in (start, until))
        return bytes(self._pcm[first:last])

    def forget(self, before: int) -> None:
        """Samples before `before` are not needed any more."""
        samples = min(before, self.end) - self.start
        if samples > 0:
            del self._pcm[: samples * SAMPLE_BYTES]
            self.start += samples


def quietest(pcm: bytes) -> int:
    """The sample in the middle of the quietest LULL of at least one of PCM16."""
    loudness = np.abs(np.frombuffer(pcm, "<i2").astype(np.int32))
    sums = np.concatenate([[0], np.cumsum(loudness)])
    return int(np.argmin(sums[LULL:] - sums[:-LULL])) + LULL // 2
