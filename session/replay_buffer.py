"""The caller's audio of the last 30 seconds, from which a new owner of a stage hears what the old one lost."""

from collections import deque
from collections.abc import Iterator

from schemas.audio import CALLER_HZ, SAMPLE_BYTES
from schemas.media import MAX_CHUNK_MS

RING_S = 30  # longer than any takeover, and 960 kB of samples: under a megabyte a call
BLOCK = CALLER_HZ  # samples of memory taken and let go at a time: a frame kept for itself costs a fifth more
CHUNK = CALLER_HZ * MAX_CHUNK_MS // 1000


class ReplayBuffer:
    """The caller's line from sample `start` to before `until`; the oldest gives way.

    A hole in the line is kept as silence, so that positions stay times; what overlaps the past is the past's.
    """

    def __init__(self, seconds: float = RING_S) -> None:
        self._capacity = int(seconds * CALLER_HZ)  # samples
        self._blocks: deque[bytearray] = deque()  # the last one is filled up to `until`
        self._begin = 0  # the sample that the first block begins with
        self.start = 0
        self.until = 0
        self.dropped = 0  # samples that gave way

    def append(self, pcm: bytes, at: int) -> None:
        """PCM16 mono at 16 kHz whose first sample is `at`. Raises ValueError for half a sample."""
        if len(pcm) % SAMPLE_BYTES:
            raise ValueError(f"{len(pcm)} bytes are not whole samples")
        if pcm and at != self.until:
            pcm = self._joined(pcm, at)
        self._write(pcm)
        late = self.until - self._capacity
        if late > self.start:
            self.dropped += late - self.start
            self.forget(late)

    def forget(self, before: int) -> None:
        """Samples before `before` are not needed any more."""
        self.start = max(self.start, min(before, self.until))
        while self._blocks and self._begin + BLOCK <= self.start:
            self._blocks.popleft()
            self._begin += BLOCK

    def since(self, at: int) -> Iterator[tuple[int, bytes]]:
        """(sample of the first, PCM16) of what is kept now from sample `at` on, in chunks of at most 100 ms."""
        blocks, begin, until = tuple(self._blocks), self._begin, self.until  # the caller may speak on between chunks
        position = max(at, self.start)
        while position < until:
            number, offset = divmod(position - begin, BLOCK)
            end = min(offset + CHUNK, BLOCK, offset + until - position)
            yield position, bytes(blocks[number][offset * SAMPLE_BYTES : end * SAMPLE_BYTES])
            position += end - offset

    def _joined(self, pcm: bytes, at: int) -> bytes:
        """`pcm` as it continues the line: without what is known already, or after silence for what never came."""
        if at < self.until:
            return pcm[(self.until - at) * SAMPLE_BYTES :]
        hole = at - self.until
        if hole < self._capacity and self._blocks:
            return bytes(hole * SAMPLE_BYTES) + pcm
        self.dropped += self.until - self.start  # nothing kept is recent enough to matter
        self._blocks.clear()
        self._begin = self.start = self.until = at
        return pcm

    def _write(self, pcm: bytes) -> None:
        while pcm:
            used = (self.until - self._begin - BLOCK * (len(self._blocks) - 1)) * SAMPLE_BYTES
            if used >= BLOCK * SAMPLE_BYTES or not self._blocks:
                self._blocks.append(bytearray(BLOCK * SAMPLE_BYTES))
                used = 0
            fits = pcm[: BLOCK * SAMPLE_BYTES - used]
            self._blocks[-1][used : used + len(fits)] = fits
            self.until += len(fits) // SAMPLE_BYTES
            pcm = pcm[len(fits) :]
