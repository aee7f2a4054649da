"""What one session said, as the page shows it: every event with what it adds up to, kept for whoever comes back."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Iterable
from typing import Any, NamedTuple

import msgspec

from schemas import events
from schemas.events import Event
from session import latency
from session.state import SessionState, fold

MAX_KEPT = 500  # messages of a call, the newest; a reader that is further behind has lost some, and is told
HIDDEN = ("agent", "config", "coordinator", "origin", "owners", "session")  # of an event: not for who calls


class Entry(NamedTuple):
    """A message. number: counts from 1 in its session."""

    number: int
    text: str


class Behind(Exception):
    """The reader was too slow: what it would read next is gone."""


class Feed:
    """The messages of one session, each a JSON object `{event, state, waterfall?}`.

    state: `listening`, `thinking` or `speaking`. waterfall: of the event's turn, as far as it has come.
    """

    def __init__(self) -> None:
        self.state = SessionState()
        self.over = False
        self._kept: deque[Entry] = deque(maxlen=MAX_KEPT)
        self._last = 0
        self._held: list[bytes] | None = None
        self._grew = asyncio.Event()

    def hear(self, data: bytes) -> None:
        """A message of the event or live plane; what is no event, or was heard before, is none of ours."""
        if self._held is not None:
            self._held.append(data)
            return
        try:
            event = events.decode(data)
        except events.BadEvent:
            return
        before, self.state = self.state, fold(self.state, event)
        if self.over or (self.state is before and not isinstance(event, events.EPHEMERAL)):
            return
        self._last += 1
        self._kept.append(Entry(self._last, msgspec.json.encode(self._shown(event)).decode()))
        self.over = isinstance(event, events.SessionClosed)
        self._tell()

    def hold(self) -> None:
        """What comes from now on waits: `release` knows what was said before it."""
        self._held = []

    def release(self, earlier: Iterable[bytes]) -> None:
        """First `earlier`, then what has waited; what is in both counts once."""
        held, self._held = self._held or [], None
        for data in (*earlier, *held):
            self.hear(data)

    def close(self) -> None:
        """There will be no more."""
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
