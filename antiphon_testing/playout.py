"""Playout, pure: when the caller hears each frame of the agent, on the clock of the caller's own audio.

Frames arrive when the network pleases. The first after silence is heard as it arrives and the rest back to back behind
it; where the next one comes too late there is silence until it comes. `clear` lets the frame that is playing end and
drops the rest, as a telephone does. What is heard is exact to the sample: taken out piece by piece, it never changes.
"""

from collections import deque
from collections.abc import Iterator

from schemas.audio import AGENT_HZ, SAMPLE_BYTES

MAX_AHEAD_S = 60  # of frames that wait to be heard; an egress that paces is 0.1 s ahead


class Playout:
    """The agent's audio as the caller hears it. Every `at` is in samples at `hz` since the caller's first sample."""

    def __init__(self, hz: int = AGENT_HZ) -> None:
        self._hz = hz
        self._waiting: deque[tuple[int, bytes]] = deque()  # (sample at which it begins, PCM16), none overlap
        self._end = 0  # sample at which the last waiting frame ends
        self._taken = 0  # samples that the caller has heard
        self.dropped = 0  # samples that arrived while MAX_AHEAD_S of them waited

    def play(self, pcm: bytes, at: int) -> None:
        """Queue a frame of PCM16 that has arrived."""
        samples = len(pcm) // SAMPLE_BYTES
        start = max(at, self._end, self._taken)
        if start + samples > at + MAX_AHEAD_S * self._hz:
            self.dropped += samples
            return
        self._waiting.append((start, pcm[: samples * SAMPLE_BYTES]))
        self._end = start + samples

    def clear(self, at: int) -> None:
        """Drop the frames that have not begun to play."""
        while self._waiting and self._waiting[-1][0] >= at:
            self._waiting.pop()
        self._end = _end(*self._waiting[-1]) if self._waiting else min(self._end, at)

    @property
    def ahead(self) -> int:
        """Return how many samples wait to be heard."""
        return max(0, self._end - self._taken)

    def take(self, until: int) -> Iterator[bytes]:
        """Yield the PCM16 heard since the last call and before sample `until`, silence included, in pieces."""
        while self._taken < until:
            start, pcm = self._waiting[0] if self._waiting else (until, b"")
            if start > self._taken:
                silence = min(start, until) - self._taken
                self._taken += silence
                yield bytes(silence * SAMPLE_BYTES)
                continue
            heard = pcm[(self._taken - start) * SAMPLE_BYTES : (until - start) * SAMPLE_BYTES]
            self._taken += len(heard) // SAMPLE_BYTES
            if self._taken == _end(start, pcm):
                self._waiting.popleft()
            yield heard


def _end(start: int, pcm: bytes) -> int:
    return start + len(pcm) // SAMPLE_BYTES
