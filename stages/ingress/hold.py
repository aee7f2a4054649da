"""One agent a room: whoever serves a room says so to those who ask, here and in other ingresses."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import msgspec

from bus.connect import Bus
from bus.errors import BusError, NoResponders
from schemas import subjects
from schemas.control import RoomFinished, RoomHeld

ANSWERED_WITHIN_S = 0.15
ASK_AGAIN_S = 1.0


@asynccontextmanager
async def hold(bus: Bus, room: str, room_id: str, session: str, finished: Callable[[], None]) -> AsyncIterator[None]:
    """The room is ours; while somebody else serves it, it is waited for. `finished` is called when it is closed.

    room_id: the server's own, so that the end of an earlier room of the same name is not taken for this one's.
    """

    def hear(subject: str, data: bytes, reply: str) -> None:
        if subjects.last_token(subject) == "held":
            bus.publish(reply, msgspec.msgpack.encode(RoomHeld(session)))
        elif _tells_of(data) == room_id:
            finished()

    while not await is_free(bus, room):
        await asyncio.sleep(ASK_AGAIN_S)
    subscription = await bus.subscribe(subjects.rooms(room), hear)
    try:
        yield
    finally:
        await subscription.unsubscribe()


async def is_free(bus: Bus, room: str) -> bool:
    """Whether nobody serves the room."""
    try:
        await bus.request(subjects.room(room, "held"), b"", ANSWERED_WITHIN_S)
    except NoResponders:
        return True
    except BusError:  # the bus is away, or whoever serves it is slow
        return False
    return False


def _tells_of(data: bytes) -> str | None:
    try:
        return msgspec.msgpack.decode(data, type=RoomFinished).id
    except msgspec.MsgspecError:
        return None
