"""The room lease: one ingress worker serves a room, and answers the requests of others that want to serve it.

Two workers that find a room free at the same moment learn of each other. Each subscribes before it requests, announces
that it takes the room, and flushes the bus. A worker that received no other announcement by then is alone. Of two
workers at least one has received the announcement of the other, so at most one stays. A worker that steps back requests
again later. This holds on one NATS server; between servers of a cluster a window of some milliseconds remains.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

from bus.connect import Bus
from bus.errors import BusError, NoResponders
from bus.message import Message
from schemas import control, subjects
from schemas.control import RoomFinished, RoomHeld, RoomTaken

ANSWERED_WITHIN_S = 0.15
RETRY_S = 1.0  # times 0.5 to 1.5, so that two workers that stepped back do not meet again


@asynccontextmanager
async def room_lease(
    bus: Bus, room: str, room_id: str, session: str, finished: Callable[[], None]
) -> AsyncIterator[None]:
    """Hold the lease of a room for `session`; wait while another session holds it. Calls `finished` when it is closed.

    room_id: LiveKit's own, so that the end of an earlier room of the same name has no effect.
    """
    held = False
    others = 0  # announcements of other workers since the request
    announcement = control.encode(RoomTaken(session))

    def on_taken(message: Message) -> None:
        nonlocal others
        others += message.data != announcement

    def on_request(message: Message) -> None:
        verb = subjects.last_token(message.subject)
        if verb == "held" and held:
            bus.publish(message.reply, control.encode(RoomHeld(session)))
        elif verb == "finished" and finished_room(message.data) == room_id:
            finished()

    async with AsyncExitStack() as stack:
        taken = await bus.subscribe(subjects.room(room, "taken"), on_taken)
        stack.push_async_callback(taken.unsubscribe)
        while not held:
            others = 0
            if await is_free(bus, room):
                requests = await bus.subscribe(subjects.rooms(room), on_request)
                stack.push_async_callback(requests.unsubscribe)
                bus.publish(subjects.room(room, "taken"), announcement)
                await bus.flush(media=False)
                held = not others
                if others:
                    await requests.unsubscribe()
            if not held:
                await asyncio.sleep(RETRY_S * random.uniform(0.5, 1.5))
        yield


async def is_free(bus: Bus, room: str) -> bool:
    """Return whether no worker holds the lease of the room; False if the bus or the holder does not answer in time."""
    try:
        await bus.request(subjects.room(room, "held"), b"", ANSWERED_WITHIN_S)
    except NoResponders:
        return True
    except BusError:
        return False
    return False


def finished_room(data: bytes) -> str | None:
    """Return LiveKit's id of the room in a `RoomFinished`; None for any other bytes."""
    try:
        return control.decode(data, RoomFinished).id
    except control.BadMessage:
        return None
