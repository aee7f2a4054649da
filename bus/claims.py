"""Membership in a stage's queue group: the server sends each claim to one member."""

from bus.connect import Bus, Subscription
from bus.message import Callback
from schemas import subjects


class QueueGroup:
    """A worker's membership. Leaving drains: a claim that is already under way is still handed to `on_claim`."""

    def __init__(self, bus: Bus, stage: str, on_claim: Callback) -> None:
        self._bus = bus
        self._stage = stage
        self._on_claim = on_claim
        self._membership: Subscription | None = None

    async def join(self) -> None:
        """Receive claims from now on. A second call does nothing."""
        if self._membership is None:
            self._membership = await self._bus.subscribe(subjects.claim(self._stage), self._on_claim, queue=self._stage)

    async def leave(self) -> None:
        """Receive no claim after those that are under way. A second call does nothing."""
        membership, self._membership = self._membership, None
        if membership is not None:
            await membership.drain()
