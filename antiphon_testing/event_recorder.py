"""Records of what happened on the bus: the events of one session, or of all, in order of arrival."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TypeVar

from bus.connect import Bus
from bus.session_client import SessionClient
from schemas import events
from schemas.events import Event

WITHIN_S = 30.0  # seconds; no test waits longer for one event unless something is broken

EventKind = TypeVar("EventKind", bound=Event)


class SessionEvents:
    """The events of one session; of all sessions while `session` is ""."""

    def __init__(self, session: str = "") -> None:
        self.session = session
        self.events: list[Event] = []
        self.subscribed = AsyncExitStack()
        self._arrived = asyncio.Event()

    def receive(self, event: Event) -> None:
        """Keep one event, unless it is of another session."""
        if self.session in ("", event.session):
            self.events.append(event)
            self._arrived.set()

    def only(self, session: str) -> None:
        """Keep the events of one session, and drop those of others."""
        self.session = session
        self.events = [event for event in self.events if event.session == session]

    def all(self, kind: type[EventKind]) -> list[EventKind]:
        """Return the events of one kind so far."""
        return [event for event in self.events if isinstance(event, kind)]

    async def until(self, kind: type[EventKind], number: int = 1, within_s: float = WITHIN_S) -> EventKind:
        """Return the `number`th event of a kind, counted from 1. Raises TimeoutError that names what came instead."""
        try:
            async with asyncio.timeout(within_s):
                while len(found := self.all(kind)) < number:
                    self._arrived.clear()
                    await self._arrived.wait()
        except TimeoutError:
            came = " ".join(self.tags) or "nothing"
            raise TimeoutError(f"no {kind.__name__} {number} of session {self.session!r}; came: {came}") from None
        return found[number - 1]

    @property
    def tags(self) -> list[str]:
        """Return the names of all events so far: `["ingress.session_opened", ...]`."""
        return [events.tag(event) for event in self.events]

    async def stop(self) -> None:
        """Receive no more."""
        await self.subscribed.aclose()


class EventRecorder:
    """The events of every session since the recording began, by session."""

    def __init__(self) -> None:
        self._sessions: dict[str, SessionEvents] = defaultdict(SessionEvents)

    def receive(self, event: Event) -> None:
        """Keep one event."""
        self._sessions[event.session].receive(event)

    @property
    def sessions(self) -> list[str]:
        """Return the ids of the sessions, in the order of their first events."""
        return [session for session, recorded in self._sessions.items() if recorded.events]

    def of(self, session: str, kind: type[EventKind]) -> list[EventKind]:
        """Return the events of one kind of a session."""
        return self._sessions[session].all(kind)

    async def until(
        self, session: str, kind: type[EventKind], number: int = 1, within_s: float = WITHIN_S
    ) -> EventKind:
        """Return the `number`th event of a kind of a session, counted from 1. Raises TimeoutError."""
        return await self._sessions[session].until(kind, number, within_s)


@asynccontextmanager
async def record_events(bus: Bus) -> AsyncIterator[EventRecorder]:
    """Record every event and ephemeral on the bus from now on."""
    recorder = EventRecorder()
    async with SessionClient(bus).subscribed(recorder.receive):
        yield recorder
