"""How far the voice may run ahead of the caller's ear, by dead reckoning: no message per frame says what was heard."""

import math

AHEAD_S = 5.0  # bridges a slow sentence; more would only be synthesized in vain when the caller interrupts
_AHEAD_MS = AHEAD_S * 1000


class Credit:
    """Of one turn: what was sent, and what the caller must have heard of it since playback started.

    The clock runs from `started`, stands while `paused`, and never passes what was sent: a player that ran dry goes on
    with what comes next. All times are milliseconds of one monotonic clock.
    """

    def __init__(self) -> None:
        self._sent = 0.0
        self._heard = 0.0
        self._running_since: float | None = None  # None: not started, or paused
        self._started = False

    def wait_ms(self, now_ms: float) -> float:
        """How long to wait before more may be sent: 0 is now, infinity until egress says that it plays (again)."""
        self._reckon(now_ms)
        too_far = self._sent - self._heard - _AHEAD_MS
        if too_far < 0:
            return 0.0
        return math.inf if self._running_since is None else max(too_far, 1.0)

    def spend(self, ms: float, now_ms: float) -> None:
        """`ms` of audio were sent."""
        self._reckon(now_ms)
        self._sent += ms

    def started(self, now_ms: float) -> None:
        """The caller hears the first of it."""
        self._started = True
        self._running_since = now_ms

    def paused(self, heard_ms: float) -> None:
        """The caller hears no more than this for now."""
        self._heard = heard_ms
        self._running_since = None

    def resumed(self, heard_ms: float, now_ms: float) -> None:
        """It goes on; a turn that had not started says so itself."""
        self._heard = heard_ms
        if self._started:
            self._running_since = now_ms

    def _reckon(self, now_ms: float) -> None:
        if self._running_since is not None:
            self._heard = min(self._sent, self._heard + now_ms - self._running_since)
            self._running_since = now_ms
