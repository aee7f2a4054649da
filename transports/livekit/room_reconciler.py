"""Rooms in which people wait and nobody serves them: LiveKit asks for an agent once, and forgets who got none.

That is a room that people entered while no ingress was registered, one that nobody could take, and one whose call
failed or whose ingress was killed. An ingress that takes every room compares now and then who is in LiveKit's rooms
with who serves them, takes out who is left of a dead session, and has LiveKit ask again.
"""

import asyncio
import math
import random
import time
from collections import deque
from collections.abc import Collection

import structlog

from bus import journal
from bus.connect import Bus
from bus.errors import BusError
from bus.message import Message
from schemas import control, subjects
from schemas.control import RoomFinished
from transports.livekit.identities import Attended, Reaped, session_of
from transports.livekit.room_lease import is_free, tells_of

LOOK_EVERY_S = 5.0  # a job takes a quarter of a second: who waits at two looks has been forgotten
LONGEST_PAUSE_S = 30.0  # between two askings; whoever waits because all lines are taken waits no longer than that
CALM_S = 60.0  # not asked for in so long beyond its pause: its agent has not failed at once
MAX_OVER = 10_000  # rooms whose call is over though people are still there; the oldest are forgotten again

log = structlog.get_logger("dispatch")


class Asked:
    """How often each room was asked for, so that one whose agent fails each time is asked for more rarely."""

    def __init__(self) -> None:
        self._last: dict[str, tuple[float, float]] = {}  # room -> when, and the pause from then on

    def may(self, room: str, now: float) -> bool:
        """Whether it is time to ask for a room; if so, it counts as asked for. now: seconds."""
        at, pause_s = self._last.get(room, (-math.inf, 0.0))
        if now < at + pause_s:
            return False
        in_a_row = now < at + pause_s + CALM_S
        self._last[room] = (now, min(2 * pause_s if in_a_row else LOOK_EVERY_S, LONGEST_PAUSE_S))
        return True

    def keep(self, rooms: Collection[str]) -> None:
        """Forget all others."""
        self._last = {room: last for room, last in self._last.items() if room in rooms}


class Forgotten:
    """What one ingress knows of the rooms that nobody serves."""

    def __init__(self, bus: Bus, server: Reaped) -> None:
        self._bus = bus
        self._server = server
        self._over: deque[str] = deque(maxlen=MAX_OVER)
        self._free: set[str] = set()  # rooms that nobody served when we looked last
        self._asked = Asked()

    async def listen(self) -> None:
        """Hear which calls came to their end, here and in other ingresses."""
        await self._bus.subscribe(subjects.rooms_over(), self._hear)

    def is_over(self, room: str, room_id: str) -> None:
        """The call in this room has come to its end: whoever is still there waits for nobody."""
        self._bus.publish(subjects.room(room, "over"), control.encode(RoomFinished(room_id)))

    async def look(self) -> None:
        """Have LiveKit ask again for who waits, as long as there is somebody to be asked."""
        while True:  # not at once with other ingresses
            await asyncio.sleep(LOOK_EVERY_S * random.uniform(0.5, 1.5))
            try:
                attended = await self._server.attended()
            except OSError as error:
                log.warning(f"cannot look for rooms without an agent: {error}")
                continue
            free = [room for room in attended if room.id not in self._over and await is_free(self._bus, room.name)]
            before, self._free = self._free, {room.id for room in free}
            self._asked.keep({room.id for room in attended})
            for room in free:
                if room.id in before and self._asked.may(room.id, time.monotonic()):
                    await self._take_up(room)

    async def _take_up(self, room: Attended) -> None:
        try:
            for identity in room.ours:
                if not await journal.read(self._bus, session_of(identity)):
                    return  # of others who share this LiveKit, and not our bus
            for identity in room.ours:  # to LiveKit it would be the room's agent still
                await self._server.dismiss(room.name, identity)
            await self._server.ask_again(room.name)
        except (BusError, OSError) as error:
            log.warning(f"a room without an agent cannot be asked for: {error}")

    def _hear(self, message: Message) -> None:
        if room_id := tells_of(message.data):
            self._over.append(room_id)
