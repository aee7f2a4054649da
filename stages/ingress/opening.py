"""From the first claim to `session_opened`: every stage starts, and the caller can hear the greeting."""

import time
from collections.abc import Callable

from schemas.agent import AgentDocument
from schemas.audio import CALLER_HZ
from schemas.events import Event, SessionOpened
from stages.ingress.claims import Claims
from stages.ingress.clock_offsets import ClockOffsets
from transports.transport import Arrival, CallerConnection


class Opening:
    """The opening of one session, and what it holds back until then."""

    def __init__(
        self, claims: Claims, connection: CallerConnection, publish: Callable[[Event], None], offsets: ClockOffsets
    ) -> None:
        self.over = False
        self._claims = claims
        self._connection = connection
        self._publish = publish
        self._offsets = offsets
        self._started_us = time.time_ns() // 1_000
        self._early: list[Event] = []  # texts and keys from before the session opened; rate limits bound them

    def begin_earlier(self, samples: int) -> None:
        """Move the time of sample 0 back by `samples` at 16 kHz; without effect once the session is open."""
        self._started_us -= samples * 1_000_000 // CALLER_HZ

    def publish_when_open(self, event: Event) -> None:
        """Publish `event` after `session_opened`."""
        if self.over:
            self._publish(event)
        else:
            self._early.append(event)

    async def run(self, document: AgentDocument, coordinator: str, transport: str, arrival: Arrival) -> None:
        """Return when the session is open. It never gives up by itself: the claims hang up, or the caller does."""
        self._claims.begin()
        await self._claims.started()
        await self._connection.ready()
        await self._claims.started()  # an owner may have been lost while the caller was on the way
        owners = self._claims.owners.all()
        opened = SessionOpened(
            owners=owners,
            coordinator=coordinator,
            transport=transport,
            started_us=self._started_us,
            config=document.model_dump(mode="json"),
            origin=arrival.origin,
            clock_offset_us={stage: self._offsets.of(owner.worker) for stage, owner in owners.items()},
        )
        self._claims.opened()
        self.over = True
        for event in (opened, *arrival.refused, *self._early):
            self._publish(event)
        self._early.clear()
