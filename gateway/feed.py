"""The events of one session as the page shows them: each with the state after it, kept for a page that reconnects."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Iterable
from typing import Any, NamedTuple

import msgspec

from schemas import events
from schemas.events import Event
from session import latency
from session.state import SessionState, fold

MAX_KEPT = 500  # newest messages of a session; a reader that is further behind gets `behind`
HIDDEN = ("agent", "config", "coordinator", "origin", "owners", "session")  # event fields that callers may not see


class Entry(NamedTuple):
    """One message of the feed. number: counts from 1 in its session."""

    number: int
    text: str


class Behind(Exception):
    """The reader was too slow: its next message is no longer kept."""


class Feed:
    """The messages of one session, each a JSON object `{event, state, waterfall?}`.

    state: `listening`, `thinking` or `speaking`. waterfall: the latency steps of the event's turn so far.
    """

    def __init__(self) -> None:
        self.state = SessionState()
        self.over = False
        self._kept: deque[Entry] = deque(maxlen=MAX_KEPT)
        self._last = 0
        self._held: list[Event] | None = None
        self._grew = asyncio.Event()

    def receive(self, event: Event) -> None:
        """Add an event or ephemeral of the session; skip one that came before, or that the fold drops."""
        if self._held is not None:
            self._held.append(event)
            return
        before, self.state = self.state, fold(self.state, event)
        if self.over or (self.state is before and not isinstance(event, events.EPHEMERAL)):
            return
        self._last += 1
        self._kept.append(Entry(self._last, msgspec.json.encode(self._shown(event)).decode()))
        self.over = isinstance(event, events.SessionClosed)
        self._tell()

    def hold(self) -> None:
        """Keep events from now on until `release` brings those published before."""
        self._held = []

    def release(self, earlier: Iterable[Event]) -> None:
        """Add `earlier`, then the kept events; an event that is in both is added once."""
        held, self._held = self._held or [], None
        for event in (*earlier, *held):
            self.receive(event)

    def close(self) -> None:
        """End the feed."""
        self.over = True
        self._tell()

    async def read(self, after: int = 0) -> AsyncGenerator[Entry, None]:
        """The messages behind number `after`, and each that comes, until the session is over. Raises Behind."""
        while True:
            grew = self._grew
            if self._kept and after < self._kept[0].number - 1:
                raise Behind(f"this reader fell more than {MAX_KEPT} messages behind")
            entry = next((entry for entry in self._kept if entry.number > after), None)
            if entry:
                after = entry.number
                yield entry
            elif self.over:
                return
            else:
                await grew.wait()

    def _shown(self, event: Event) -> dict[str, Any]:
        told = msgspec.to_builtins(event)
        shown: dict[str, Any] = {
            "event": {name: value for name, value in told.items() if name not in HIDDEN},
            "state": self.state.agent_state,
        }
        falls = latency.waterfall(self.state, event.turn) if event.turn else None
        if falls:
            marks = [{"name": mark.name, "at": mark.at} for mark in falls.marks]
            shown["waterfall"] = {"turn": falls.turn, "marks": marks, "total_ms": falls.total_ms}
        return shown

    def _tell(self) -> None:
        grew, self._grew = self._grew, asyncio.Event()
        grew.set()
