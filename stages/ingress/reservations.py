"""Slots that ingress keeps for callers who have been offered a session. Pure; times are monotonic seconds."""

import math
from dataclasses import dataclass

from transports.transport import NO_ARRIVAL, Arrival

RESERVED_S = 10.0  # a caller connects within a second; after this the slot is free again


@dataclass(frozen=True)
class Reserved:
    """A slot. until: when it is free again. agent: the one that was offered; "" admits no caller."""

    until: float
    agent: str = ""
    arrival: Arrival = NO_ARRIVAL


class Reservations:
    """The slots of one ingress by session id."""

    def __init__(self) -> None:
        self._slots: dict[str, Reserved] = {}

    def __len__(self) -> int:
        return len(self._slots)

    def __contains__(self, session: str) -> bool:
        return session in self._slots

    def keep(self, session: str, now: float, agent: str = "", within_s: float = RESERVED_S) -> None:
        """Keep a slot for `within_s`; without an agent no caller may take it yet."""
        self._slots[session] = Reserved(now + within_s, agent)

    def expect(self, session: str, agent: str, arrival: Arrival) -> None:
        """Keep the slot for a caller who is on the way, until `free`."""
        self._slots[session] = Reserved(math.inf, agent, arrival)

    def take(self, session: str, agent: str, now: float) -> Arrival | None:
        """Give the slot to a caller: it still counts, but admits no other. None if there is no slot for `agent`."""
        reserved = self._slots.get(session)
        if reserved is None or reserved.agent != agent or reserved.until < now:
            return None
        self.keep(session, now)
        return reserved.arrival

    def free(self, session: str) -> None:
        """Give a slot up."""
        self._slots.pop(session, None)

    def expire(self, now: float) -> None:
        """Give up every slot whose time is over."""
        for session in [session for session, reserved in self._slots.items() if reserved.until < now]:
            del self._slots[session]
