"""One agent a room: whoever serves a room says so to those who ask, here and in other ingresses.

Two who find it free in the same moment hear of each other: each listens before it asks, says that it takes the room,
and waits until the server has passed that on. Who has heard nobody by then is alone. Of two, at least one was heard
by the other, so that one at most stays; whoever heard another steps back and asks again a little later. That holds on
one NATS server; between servers of a cluster a moment of some milliseconds is left.
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
ASK_AGAIN_S = 1.0  # half to one and a half of this, so that two who stepped back do not meet again


@asynccontextmanager
async def hold(bus: Bus, room: str, room_id: str, session: str, finished: Callable[[], None]) -> AsyncIterator[None]:
    """The room is ours; while somebody else serves it, it is waited for. `finished` is called when it is closed.

    room_id: the server's own, so that the end of an earlier room of the same name is not taken for this one's.
    """
    ours = False
    others = 0  # who took it, too, since we asked
    taken = control.encode(RoomTaken(session))

    def listen(message: Message) -> None:
        nonlocal others
        others += message.data != taken

    def hear(message: Message) -> None:
        verb = subjects.last_token(message.subject)
        if verb == "held" and ours:
            bus.publish(message.reply, control.encode(RoomHeld(session)))
        elif verb == "finished" and tells_of(message.data) == room_id:
            finished()

    async with AsyncExitStack() as stack:
        listening = await bus.subscribe(subjects.room(room, "taken"), listen)
        stack.push_async_callback(listening.unsubscribe)
        while not ours:
            others = 0
            if await is_free(bus, room):
                hearing = await bus.subscribe(subjects.rooms(room), hear)
                stack.push_async_callback(hearing.unsubscribe)
                bus.publish(subjects.room(room, "taken"), taken)
                await bus.flush(media=False)
                ours = not others
                if others:
                    await hearing.unsubscribe()
            if not ours:
                await asyncio.sleep(ASK_AGAIN_S * random.uniform(0.5, 1.5))
        yield


async def is_free(bus: Bus, room: str) -> bool:
    """Whether nobody serves the room."""
    try:
        await bus.request(subjects.room(room, "held"), b"", ANSWERED_WITHIN_S)
    except NoResponders:
        return True
    except BusError:  # the bus is away, or whoever serves it is slow
        return False
    return False


def tells_of(data: bytes) -> str | None:
    """The server's id of the room in a `RoomFinished`; None if this is none."""
    try:
        return control.decode(data, RoomFinished).id
    except control.BadMessage:
        return None
