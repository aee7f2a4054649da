"""The room reconciler: finds rooms that have people and no agent, and has LiveKit dispatch one.

LiveKit dispatches an agent once a room. It does not repeat a dispatch that failed: no ingress was registered when the
people entered, none had capacity, or the session failed or its ingress was killed. Nor does it dispatch for a person
who enters a room that still exists after its session ended. Every ingress that takes all rooms therefore compares the
rooms that have people with the rooms in service, and removes participants that a dead session left behind.
"""

import asyncio
import math
import random
import time
from collections import OrderedDict
from collections.abc import Collection
from typing import Protocol

import structlog

from bus import journal
from bus.connect import Bus
from bus.errors import BusError
from bus.message import Message
from schemas import control, subjects
from schemas.control import RoomSessionOver
from transports.livekit.identities import session_of
from transports.livekit.room_lease import is_free
from transports.livekit.room_service import OccupiedRoom

LOOK_EVERY_S = 5.0  # a job takes a quarter of a second: a room without an agent at two looks has been forgotten
LONGEST_PAUSE_S = 30.0  # between two dispatches; a room that waits because no worker has capacity waits no longer
CALM_S = 60.0  # without a dispatch for so long beyond its pause: the room's agent did not fail at once
MAX_OVER = 10_000  # rooms whose session ended in good order; the oldest are dropped

log = structlog.get_logger("dispatch")


class Rooms(Protocol):
    """What the reconciler needs of LiveKit's room service."""

    async def occupied_rooms(self) -> list[OccupiedRoom]:
        """Return every room that has people and no agent of other software. Raises ConnectionError."""

    async def remove(self, room: str, identity: str) -> bool:
        """Remove a participant whose session is over; return False if it had left."""

    async def dispatch_again(self, room: str) -> None:
        """Dispatch an agent into a room that has none. Raises ConnectionError."""


class Backoff:
    """The pauses between dispatches into the same room, which double while its agents fail. Times in seconds."""

    def __init__(self) -> None:
        self._last: dict[str, tuple[float, float]] = {}  # room -> time of the dispatch, and the pause after it

    def allows(self, room: str, now: float) -> bool:
        """Return whether an agent may be dispatched into `room`; if so, count it as dispatched."""
        at, pause_s = self._last.get(room, (-math.inf, 0.0))
        if now < at + pause_s:
            return False
        in_a_row = now < at + pause_s + CALM_S
        self._last[room] = (now, min(2 * pause_s if in_a_row else LOOK_EVERY_S, LONGEST_PAUSE_S))
        return True

    def keep(self, rooms: Collection[str]) -> None:
        """Forget all other rooms."""
        self._last = {room: last for room, last in self._last.items() if room in rooms}


class RoomReconciler:
    """The reconciler of one ingress worker."""

    def __init__(self, bus: Bus, rooms: Rooms) -> None:
        self._bus = bus
        self._rooms = rooms
        self._over: OrderedDict[str, frozenset[str]] = OrderedDict()  # room -> people who have had their session
        self._waiting: set[str] = set()  # rooms without an agent at the last look
        self._backoff = Backoff()

    async def listen(self) -> None:
        """Subscribe to the ends of sessions, of this ingress and of others."""
        await self._bus.subscribe(subjects.rooms_over(), self._on_over)

    def session_over(self, room: str, room_id: str, people: Collection[str]) -> None:
        """Publish that a session ended in good order. people: those who are still in the room."""
        over = RoomSessionOver(room_id, tuple(sorted(people)))
        self._bus.publish(subjects.room(room, "over"), control.encode(over))

    async def run(self) -> None:
        """Look until cancelled."""
        while True:  # at random, so that several ingress workers look at different times
            await asyncio.sleep(LOOK_EVERY_S * random.uniform(0.5, 1.5))
            try:
                occupied = await self._rooms.occupied_rooms()
            except OSError as error:
                log.warning("cannot look for rooms without an agent", cause=str(error))
                continue
            waiting = [room for room in occupied if self._waits(room) and await is_free(self._bus, room.name)]
            before, self._waiting = self._waiting, {room.id for room in waiting}
            self._backoff.keep({room.id for room in occupied})
            for room in waiting:
                if room.id in before and self._backoff.allows(room.id, time.monotonic()):
                    await self._dispatch(room)

    def _waits(self, room: OccupiedRoom) -> bool:
        """Return whether the room has a person who has not had a session. A person who enters again has a new id."""
        return bool(room.people - self._over.get(room.id, frozenset()))

    async def _dispatch(self, room: OccupiedRoom) -> None:
        try:
            for identity in room.agents:
                if not await journal.read(self._bus, session_of(identity)):
                    return  # the agent of another Antiphon, which shares this LiveKit and not this bus
            for identity in room.agents:  # LiveKit would take it for the room's agent
                await self._rooms.remove(room.name, identity)
            await self._rooms.dispatch_again(room.name)
        except (BusError, OSError) as error:
            log.warning("cannot dispatch into a room without an agent", cause=str(error))

    def _on_over(self, message: Message) -> None:
        try:
            over = control.decode(message.data, RoomSessionOver)
        except control.BadMessage:
            return
        self._over[over.id] = self._over.pop(over.id, frozenset()) | frozenset(over.people)
        if len(self._over) > MAX_OVER:
            self._over.popitem(last=False)
