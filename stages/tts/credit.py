"""How far synthesis may run ahead of playback: egress reports no frame, so the clock gives the position."""

import math

AHEAD_S = 5.0  # bridges a slow sentence; an interruption would discard all that is synthesized beyond it
_AHEAD_MS = AHEAD_S * 1000


class Credit:
    """Counts, for one turn, the audio that was sent and the audio that the caller must have heard.

    The clock runs from `started`, stands while `paused`, and never passes what was sent: a player that ran dry goes on
    with the next audio. All times are milliseconds of one monotonic clock.
    """

    def __init__(self) -> None:
        self._sent = 0.0
        self._heard = 0.0
        self._running_since: float | None = None  # None: not started, or paused
        self._started = False

    def wait_ms(self, now_ms: float) -> float:
        """Return how long to wait before more may be sent: 0 is now, infinity until egress starts or resumes."""
        self._advance(now_ms)
        too_far = self._sent - self._heard - _AHEAD_MS
        if too_far < 0:
            return 0.0
        return math.inf if self._running_since is None else max(too_far, 1.0)

    def move(self, at_ms: float) -> None:
        """Go on from `at_ms` of the turn: audio behind it is sent once more, or for the first time."""
        self._sent = self._heard = at_ms

    def spend(self, ms: float, now_ms: float) -> None:
        """Count `ms` of audio that were sent."""
        self._advance(now_ms)
        self._sent += ms

    def started(self, now_ms: float) -> None:
        """Start the clock: playback of the turn began."""
        self._started = True
        self._running_since = now_ms

    def paused(self, heard_ms: float) -> None:
        """Stop the clock at `heard_ms`."""
        self._heard = heard_ms
        self._running_since = None

    def resumed(self, heard_ms: float, now_ms: float) -> None:
        """Go on from `heard_ms`. Before the first sample, the clock waits for `started`."""
        self._heard = heard_ms
        if self._started:
            self._running_since = now_ms

    def _advance(self, now_ms: float) -> None:
        if self._running_since is not None:
            self._heard = min(self._sent, self._heard + now_ms - self._running_since)
            self._running_since = now_ms
