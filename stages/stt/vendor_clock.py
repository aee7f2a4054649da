"""Maps a vendor's time to samples of the caller: pure.

A vendor counts the audio that it was sent. The caller's audio has gaps where frames were lost, and begins late after a
takeover. An adapter adds every frame that it sends and asks for the position of every time that it receives.
"""

from bisect import bisect_right
from collections.abc import Sequence

from schemas.audio import CALLER_HZ
from schemas.events.envelope import Word
from stages.stt.contract import HeardFinal

MOST_GAPS = 100  # that are kept; a vendor is never so far behind


class VendorClock:
    """The audio that was sent, as spans without a gap."""

    def __init__(self) -> None:
        self.sent = 0  # samples
        self._spans: list[tuple[int, int]] = []  # samples sent before the span, the caller's sample that it begins with

    @property
    def end(self) -> int:
        """The caller's sample after the newest that was sent."""
        return self._caller_sample(self.sent)

    def add(self, at_sample: int, samples: int) -> None:
        """Count `samples` that are sent, the first of which is `at_sample`."""
        if not self._spans or at_sample != self.end:
            self._spans = [*self._spans[-MOST_GAPS + 1 :], (self.sent, at_sample)]
        self.sent += samples

    def sample(self, seconds: float) -> int:
        """Return the caller's sample at `seconds` of the vendor's time, never beyond the audio that was sent."""
        return self._caller_sample(min(round(seconds * CALLER_HZ), self.sent))

    def _caller_sample(self, sent: int) -> int:
        if not self._spans:
            return 0
        before, begin = self._spans[max(0, bisect_right(self._spans, (sent, -1)) - 1)]
        return begin + max(0, sent - before)

    def final(
        self,
        text: str,
        start_s: float,
        until_s: float,
        words: Sequence[tuple[str, float, float]] = (),
        end_of_turn: bool | None = None,
    ) -> HeardFinal:
        """Return the final of the vendor's audio from `start_s` to `until_s`. It starts with its first word.

        words: with the seconds of the vendor's time at which each begins and ends.
        """
        start_s = max(start_s, words[0][1]) if words else start_s
        timed = tuple(
            Word(word, max(0, round((begin - start_s) * 1000)), max(0, round((end - start_s) * 1000)))
            for word, begin, end in words
        )
        until = self.sample(until_s)
        return HeardFinal(text, min(self.sample(start_s), until), until, timed, end_of_turn)
