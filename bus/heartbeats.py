"""Heartbeats that a worker sends to the coordinators of its sessions, and how it learns that one is gone."""

import time

from bus.connect import Bus
from bus.message import Message
from schemas import subjects

EVERY_S = 0.1
RECOVERED_S = 0.5  # five heartbeats without a 503: the coordinator subscribes again


class Heartbeats:
    """Sends a worker's heartbeats and measures for how long a coordinator has not received them.

    A heartbeat is undelivered if the server answers 503 (no subscriber), or if this process has no connection.
    """

    def __init__(self, bus: Bus, worker: str) -> None:
        self._bus = bus
        self._worker = worker
        self._inbox = bus.new_inbox()
        self._missed: dict[str, tuple[float, float]] = {}  # coordinator -> first and last miss, monotonic seconds

    async def open(self) -> None:
        """Subscribe to the server's 503 answers. Call once, before the first heartbeat."""
        await self._bus.subscribe(f"{self._inbox}.*", self._on_answer)

    def send(self, coordinator: str, heartbeat: bytes) -> None:
        """Publish a heartbeat; without a connection it is dropped, because a late heartbeat proves nothing."""
        if self._bus.connected:
            reply = f"{self._inbox}.{coordinator}"
            self._bus.publish(subjects.heartbeat(coordinator, self._worker), heartbeat, reply)
        else:
            self._miss(coordinator)

    def undelivered_s(self, coordinator: str) -> float:
        """Return for how many seconds this coordinator has received no heartbeat; 0 while it receives them."""
        if coordinator not in self._missed:
            return 0.0
        first, last = self._missed[coordinator]
        now = time.monotonic()
        if now - last > RECOVERED_S:
            del self._missed[coordinator]
            return 0.0
        return now - first

    def forget(self, coordinator: str) -> None:
        """Drop what is known of a coordinator that has no session in this worker any more."""
        self._missed.pop(coordinator, None)

    def _on_answer(self, message: Message) -> None:
        if not message.data:  # an empty message on this inbox is the server's 503
            self._miss(subjects.last_token(message.subject))

    def _miss(self, coordinator: str) -> None:
        now = time.monotonic()
        first, _last = self._missed.get(coordinator, (now, now))
        self._missed[coordinator] = (first, now)
