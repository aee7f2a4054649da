"""How long after the end of speech a provider's finals come: the `final_within_ms` of its next utterances. Pure."""

import math
from collections import deque

RECENT = 200  # finals that are counted
FEWEST = RECENT // 4  # before that a percentile says nothing
FINAL_WITHIN_MS = 400  # until there are enough


class Lateness:
    """The recent finals of one provider in this worker."""

    def __init__(self) -> None:
        self._late_ms: deque[float] = deque(maxlen=RECENT)

    def add(self, late_ms: float) -> None:
        """Count a final that came `late_ms` after the end of speech was known."""
        self._late_ms.append(late_ms)

    @property
    def final_within_ms(self) -> int:
        """The 99th percentile."""
        if len(self._late_ms) < FEWEST:
            return FINAL_WITHIN_MS
        return math.ceil(sorted(self._late_ms)[math.ceil(len(self._late_ms) * 0.99) - 1])
