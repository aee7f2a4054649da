"""One caller's most recent audio, addressed by sample: the replay buffer of ingress, and the stretches of stt. Pure."""

from collections import deque
from collections.abc import Iterator

from schemas.audio import CALLER_HZ, SAMPLE_BYTES
from schemas.media import MAX_CHUNK_MS

KEEP_S = 30  # longer than any takeover, and 960 kB of samples: under a megabyte a session
BLOCK = CALLER_HZ  # samples allocated and released at a time: one object for each frame takes a fifth more memory
CHUNK = CALLER_HZ * MAX_CHUNK_MS // 1000


class AudioBuffer:
    """PCM16 mono at 16 kHz from sample `start` to before `end`, without a hole. The oldest audio is dropped.

    A gap in the audio is kept as silence, so that positions stay times. After a gap of `longest_gap` samples or more
    the buffer begins anew behind it. Audio that overlaps what is kept already is ignored.
    seconds: of audio that is kept at most. longest_gap: `seconds` unless it is given. block: samples of one allocation.
    dropped: samples that were lost to the bound or to a long gap; `forget` does not count.
    """

    def __init__(self, seconds: float = KEEP_S, *, longest_gap: int | None = None, block: int = BLOCK) -> None:
        self._capacity = int(seconds * CALLER_HZ)  # samples
        self._longest_gap = self._capacity if longest_gap is None else longest_gap
        self._block = block
        self._blocks: deque[bytearray] = deque()  # the last one is filled up to `end`
        self._first = 0  # the sample that the first block begins with
        self._room = 0  # bytes that the last block still takes
        self._begun = False
        self.start = 0
        self.end = 0
        self.dropped = 0

    def append(self, pcm: bytes, at: int) -> None:
        """Add audio whose first sample is `at`. Raises ValueError for half a sample."""
        if len(pcm) % SAMPLE_BYTES:
            raise ValueError(f"{len(pcm)} bytes are not whole samples")
        if pcm and at != self.end:
            pcm = self._join(pcm, at)
        self._begun = self._begun or bool(pcm)
        self._write(pcm)
        late = self.end - self._capacity
        if late > self.start:
            self.dropped += late - self.start
            self.forget(late)

    def forget(self, before: int) -> None:
        """Release the samples before `before`: they are not needed any more."""
        self.start = max(self.start, min(before, self.end))
        while self._blocks and self._first + self._block <= self.start:
            self._blocks.popleft()
            self._first += self._block

    def cut(self, start: int, until: int) -> bytes:
        """Return the samples from `start` to before `until`, as far as they are kept."""
        start, until = max(start, self.start), min(until, self.end)
        number, offset = divmod(start - self._first, self._block)
        if start < until and offset + until - start <= self._block:  # most windows of VAD lie within one block
            return bytes(
                memoryview(self._blocks[number])[offset * SAMPLE_BYTES : (offset + until - start) * SAMPLE_BYTES]
            )
        return b"".join(pcm for _, pcm in self._pieces(start, until, self._block))

    def since(self, at: int) -> Iterator[tuple[int, bytes]]:
        """Yield (first sample, PCM16) of all audio kept now from sample `at` on, in chunks of at most 100 ms.

        Audio that is appended or forgotten between two chunks changes nothing.
        """
        return self._pieces(at, self.end, CHUNK)

    def _pieces(self, start: int, until: int, longest: int) -> Iterator[tuple[int, bytes]]:
        position, until, begin = max(start, self.start), min(until, self.end), self._first
        blocks = tuple(self._blocks) if position < until else ()
        while position < until:
            number, offset = divmod(position - begin, self._block)
            end = min(offset + longest, self._block, offset + until - position)
            yield position, bytes(memoryview(blocks[number])[offset * SAMPLE_BYTES : end * SAMPLE_BYTES])
            position += end - offset

    def _join(self, pcm: bytes, at: int) -> bytes:
        """Return `pcm` as it continues the buffer: without what is kept already, or behind the silence of a gap."""
        if at < self.end:
            return pcm[(self.end - at) * SAMPLE_BYTES :]
        gap = at - self.end
        if gap < self._longest_gap and self._begun:
            return bytes(gap * SAMPLE_BYTES) + pcm
        self.dropped += self.end - self.start  # audio from before a long gap is of no use to what follows
        self._blocks.clear()
        self._room, self._first = 0, at
        self.start = self.end = at
        return pcm

    def _write(self, pcm: bytes) -> None:
        while pcm:
            if not self._room:
                self._blocks.append(bytearray(self._block * SAMPLE_BYTES))
                self._room = self._block * SAMPLE_BYTES
            fits = pcm[: self._room]  # the frame itself, where all of it fits
            used = self._block * SAMPLE_BYTES - self._room
            self._blocks[-1][used : used + len(fits)] = fits
            self._room -= len(fits)
            self.end += len(fits) // SAMPLE_BYTES
            pcm = pcm[len(fits) :]
