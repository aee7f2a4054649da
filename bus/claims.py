"""Membership in a stage's queue group: who is in it may be asked to own a session."""

from bus.connect import Bus, Subscription
from bus.wire import Callback
from schemas import subjects


class QueueGroup:
    """In or out. Leaving drains: a claim that is already on its way is answered, never thrown away."""

    def __init__(self, bus: Bus, stage: str, on_claim: Callback) -> None:
        self._bus = bus
        self._stage = stage
        self._on_claim = on_claim
        self._membership: Subscription | None = None

    async def join(self) -> None:
        if self._membership is None:
            self._membership = await self._bus.subscribe(subjects.claim(self._stage), self._on_claim, queue=self._stage)

    async def leave(self) -> None:
        membership, self._membership = self._membership, None
        if membership is not None:
            await membership.drain()
