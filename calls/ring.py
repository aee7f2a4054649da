"""The caller's audio of the last 30 seconds, from which a new owner of a stage hears what the old one lost."""

from collections import deque
from collections.abc import Iterator

from schemas.audio import CALLER_HZ, SAMPLE_BYTES

RING_S = 30  # longer than any takeover, and 960 kB of samples: under a megabyte a call


class Ring:
    """Chunks of the caller's line, kept as they came and in order; the oldest give way.

    A hole in the line is kept as silence, so that positions stay times; what overlaps the past is the past's.
    """

    def __init__(self, seconds: float = RING_S) -> None:
        self._capacity = int(seconds * CALLER_HZ)  # samples
        self._chunks: deque[bytes] = deque()
        self.start = 0  # sample of the oldest chunk
        self.until = 0  # sample after the newest
        self.dropped = 0  # samples that gave way

    def append(self, pcm: bytes, at: int) -> None:
        """PCM16 mono at 16 kHz whose first sample is `at`. Raises ValueError for half a sample."""
        if len(pcm) % SAMPLE_BYTES:
            raise ValueError(f"{len(pcm)} bytes are not whole samples")
        if pcm and at != self.until:
            pcm = self._joined(pcm, at)
        if not pcm:
            return
        self._chunks.append(pcm)
        self.until += len(pcm) // SAMPLE_BYTES
        while self.until - self.start > self._capacity:
            oldest = len(self._chunks.popleft()) // SAMPLE_BYTES
            self.start += oldest
            self.dropped += oldest

    def since(self, at: int) -> Iterator[tuple[int, bytes]]:
        """(sample of the first, PCM16) of what is kept from sample `at` on; the first chunk is cut to begin there."""
        position = self.start
        for chunk in tuple(self._chunks):  # a replay may wait between chunks while the caller goes on speaking
            end = position + len(chunk) // SAMPLE_BYTES
            if end > at:
                skip = max(0, at - position)
                yield position + skip, chunk[skip * SAMPLE_BYTES :]
            position = end

    def _joined(self, pcm: bytes, at: int) -> bytes:
        """`pcm` as it continues the line: without what is known already, or after silence for what never came."""
        if at < self.until:
            return pcm[(self.until - at) * SAMPLE_BYTES :]
        hole = at - self.until
        if hole >= self._capacity or not self._chunks:  # nothing kept is recent enough to matter
            self.dropped += self.until - self.start
            self._chunks.clear()
            self.start = self.until = at
            return pcm
        self._chunks.append(bytes(hole * SAMPLE_BYTES))
        self.until = at
        return pcm
