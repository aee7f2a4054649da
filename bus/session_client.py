"""A program's view of sessions: claim one, follow its events, fold them into its state, and end it.

`antiphon call` and `tail`, the gateway, the bench, the examples and the test kit use this one client.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Literal, TypeVar

from bus.connect import Bus, Subscription
from bus.errors import BusError, NoResponders
from bus.message import Message
from schemas import control, events, subjects
from schemas.control import ClaimSession, Close, Refusal, RoomHeld, SessionOffer
from schemas.events import CloseReason, Event
from session.state import SessionState, fold

CLAIM_WITHIN_S = 5.0  # ingress answers within milliseconds; this covers a machine that is starting
CLOSE_WITHIN_S = 0.5  # ingress answers before it closes
CLOSED_WITHIN_S = 3.0  # stages flush within 2 s, then session_closed comes
ROOM_WITHIN_S = 0.15  # the ingress that serves a room answers at once, and no other does

EventKind = TypeVar("EventKind", bound=Event)
OnEvent = Callable[[Event], None]


class SessionRefused(Exception):
    """Ingress offered no session; the message says why. refusal: `no_worker` when no ingress answered."""

    def __init__(self, refusal: Refusal, message: str) -> None:
        super().__init__(message)
        self.refusal = refusal


class FollowedSession:
    """The events of one session as they arrive, and the state that they fold into.

    events: those of the event plane, in order of arrival. `on_event` is also called for ephemerals.
    """

    def __init__(self, on_event: OnEvent) -> None:
        self.state = SessionState()
        self.events: list[Event] = []
        self.closed = asyncio.Event()
        self._on_event = on_event
        self._changed = asyncio.Event()

    def receive(self, event: Event) -> None:
        """Fold one event into the state."""
        if not isinstance(event, events.EPHEMERAL):
            self.events.append(event)
        self.state = fold(self.state, event)
        if isinstance(event, events.SessionClosed):
            self.closed.set()
        self._on_event(event)
        self._changed.set()

    async def until_closed(self, *, within_s: float = CLOSED_WITHIN_S) -> bool:
        """Wait until the session has closed; return whether it has within `within_s`."""
        try:
            async with asyncio.timeout(within_s):
                await self.closed.wait()
        except TimeoutError:
            return False
        return True

    def all(self, kind: type[EventKind]) -> list[EventKind]:
        """Return the events of one kind so far."""
        return [event for event in self.events if isinstance(event, kind)]

    async def until(self, kind: type[EventKind], number: int = 1, *, within_s: float) -> EventKind:
        """Return the `number`th event of a kind, counted from 1; raises TimeoutError after `within_s`."""
        async with asyncio.timeout(within_s):
            while len(found := self.all(kind)) < number:
                self._changed.clear()
                await self._changed.wait()
        return found[number - 1]


class SessionClient:
    """Claims, follows and ends sessions over one bus."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def claim(
        self,
        agent: str,
        transport: Literal["websocket", "null"] = "websocket",
        *,
        room: bool = False,
        options: Mapping[str, int] | None = None,
        within_s: float = CLAIM_WITHIN_S,
    ) -> SessionOffer:
        """Ask ingress where this agent can be called. Raises SessionRefused, or BadId for a bad agent id."""
        asked = ClaimSession(subjects.check_id(agent, "agent id"), transport, dict(options or {}), room=room)
        try:
            answer = await self._bus.request(subjects.claim(subjects.INGRESS), control.encode(asked), within_s)
        except NoResponders:
            raise SessionRefused(
                "no_worker", "no ingress is running, or all are full. Start `antiphon up`, or `antiphon run ingress`."
            ) from None
        except BusError:
            raise SessionRefused(
                "no_worker", f"no ingress answered within {within_s:.0f} s. `antiphon ps` shows the workers."
            ) from None
        offer = control.decode(answer, SessionOffer)
        if offer.refused:
            raise SessionRefused(offer.refused, offer.detail or f"ingress refused the session: {offer.refused}")
        return offer

    @asynccontextmanager
    async def follow(self, session: str, on_event: OnEvent = lambda _event: None) -> AsyncIterator[FollowedSession]:
        """Receive every event and ephemeral of a session from now on; whole if entered before the session opens."""
        followed = FollowedSession(on_event)
        async with self.subscribed(followed.receive, session=session):
            yield followed

    @asynccontextmanager
    async def subscribed(
        self, on_event: OnEvent, *, agent: str | None = None, session: str | None = None, ephemerals: bool = True
    ) -> AsyncIterator[None]:
        """Call `on_event` for each event of one agent, one session, or all; skip other messages.

        ephemerals: whether to receive those, too. Raises BadId.
        """

        def receive(message: Message) -> None:
            try:
                event = events.decode(message.data)
            except events.BadEvent:
                return
            on_event(event)

        planes = [subjects.events(agent, session)]
        if ephemerals:
            planes.append(subjects.ephemerals(agent, session))
        subscriptions: list[Subscription] = []
        try:
            for plane in planes:
                subscriptions.append(await self._bus.subscribe(plane, receive))
            await self._bus.flush(media=False)
            yield
        finally:
            for subscription in subscriptions:
                await subscription.unsubscribe()

    async def session_in(self, room: str) -> str | None:
        """Return the session that an ingress serves in a LiveKit room, None if none answers within 150 ms."""
        with suppress(BusError, control.BadMessage):
            answer = await self._bus.request(subjects.room(room, "held"), b"", ROOM_WITHIN_S)
            return control.decode(answer, RoomHeld).session
        return None

    async def close(self, session: str, reason: CloseReason = "hangup") -> bool:
        """Ask ingress to end a session; return whether its ingress answered within 0.5 s."""
        close = control.encode(Close(session, reason))
        try:
            await self._bus.request(subjects.control(session, subjects.INGRESS, "close"), close, CLOSE_WITHIN_S)
        except BusError:
            return False
        return True
