"""Signs of life between workers and the coordinators of their sessions, seen from both ends."""

import time

from bus.connect import Bus
from schemas import subjects

EVERY_S = 0.1
RECOVERED_S = 0.5  # no "nobody there" for this long means that somebody is


class Heartbeats:
    """A worker's end: sends beats, and learns when nobody hears them any more: the server says so, or is away."""

    def __init__(self, bus: Bus, worker: str) -> None:
        self._bus = bus
        self._worker = worker
        self._inbox = bus.new_inbox()
        self._unheard: dict[str, tuple[float, float]] = {}  # coordinator -> when first and last nobody heard us

    async def open(self) -> None:
        await self._bus.subscribe(f"{self._inbox}.*", self._nobody)

    def send(self, coordinator: str, beat: bytes) -> None:
        if self._bus.connected:
            self._bus.publish(subjects.heartbeat(coordinator, self._worker), beat, f"{self._inbox}.{coordinator}")
        else:  # nor would it be of use to anybody later
            self._miss(coordinator)

    def unheard_s(self, coordinator: str) -> float:
        """For how long nobody has heard our beats to this coordinator; 0 while somebody does."""
        if coordinator not in self._unheard:
            return 0.0
        first, last = self._unheard[coordinator]
        now = time.monotonic()
        if now - last > RECOVERED_S:
            del self._unheard[coordinator]
            return 0.0
        return now - first

    def forget(self, coordinator: str) -> None:
        self._unheard.pop(coordinator, None)

    def _nobody(self, subject: str, data: bytes, _reply: str) -> None:
        if not data:  # an empty message on this inbox is the server's 503
            self._miss(subjects.last_token(subject))

    def _miss(self, coordinator: str) -> None:
        now = time.monotonic()
        first, _last = self._unheard.get(coordinator, (now, now))
        self._unheard[coordinator] = (first, now)
