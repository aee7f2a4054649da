"""A deadline that is set again and again, at the cost of one timer."""

import asyncio
from collections.abc import Callable

SHORTEST_MS = 1.0  # a timer may fire a fraction of a millisecond early; it is then set once more


class Deadline:
    """Calls `on_due` once, when the moment that was set last has come.

    now_ms, later: the clock and the timer, for example those of a StageContext. Setting a later moment leaves the timer
    alone: it fires too early, finds that the moment has not come, and is set for the rest.
    """

    def __init__(
        self,
        now_ms: Callable[[], float],
        later: Callable[[float, Callable[[], None]], asyncio.TimerHandle],
        on_due: Callable[[], None],
    ) -> None:
        self._now_ms = now_ms
        self._later = later
        self._on_due = on_due
        self._due_ms: float | None = None
        self._fires_ms = 0.0
        self._timer: asyncio.TimerHandle | None = None

    @property
    def due_ms(self) -> float | None:
        """The moment on the clock of `now_ms`; None while none is set."""
        return self._due_ms

    def set(self, due_ms: float | None) -> None:
        """Replace the moment; None removes it. A moment in the past comes at the next turn of the event loop."""
        self._due_ms = due_ms
        if due_ms is None or (self._timer is not None and self._fires_ms <= due_ms):
            return
        if self._timer is not None:
            self._timer.cancel()
        self._fires_ms = due_ms
        self._timer = self._later(max(due_ms - self._now_ms(), 0.0), self._fire)

    def stop(self) -> None:
        """Remove the moment and cancel the timer, for an owner that goes away."""
        self._due_ms = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _fire(self) -> None:
        self._timer = None
        if self._due_ms is None:
            return
        now_ms = self._now_ms()
        if now_ms < self._due_ms:
            self._fires_ms = max(self._due_ms, now_ms + SHORTEST_MS)
            self._timer = self._later(self._fires_ms - now_ms, self._fire)
            return
        self._due_ms = None
        self._on_due()
