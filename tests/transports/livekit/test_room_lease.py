"""One agent a room, whoever else wants it."""

import asyncio
import random
from collections import defaultdict

from bus.connect import Bus, connect
from bus.settings import BusSettings
from transports.livekit.room_lease import room_lease

ROOMS = 100
STAYS_S = 0.05  # far longer than another needs to come in
MOST_APART = 6  # turns of the loop between two who come
WITHIN_S = 60.0


async def test_of_those_who_find_a_room_free_in_the_same_moment_one_serves_it_and_the_others_after_it(
    nats: str,
) -> None:
    there: dict[str, list[str]] = defaultdict(list)
    served: dict[str, list[list[str]]] = defaultdict(list)

    async def serve(bus: Bus, room: str, session: str) -> None:
        async with room_lease(bus, room, "RM_1", session, lambda: None):
            there[room].append(session)
            served[room].append(list(there[room]))
            await asyncio.sleep(STAYS_S)
            there[room].remove(session)

    settings = BusSettings(url=nats)
    async with (
        asyncio.timeout(WITHIN_S),
        connect(settings, "first") as first,
        connect(settings, "second") as second,
        connect(settings, "third") as third,
        asyncio.TaskGroup() as tasks,
    ):
        for room in range(ROOMS):
            for session, bus in random.sample([("a", first), ("b", second), ("c", third)], 3):
                tasks.create_task(serve(bus, f"room {room}", session))
                for _ in range(random.randrange(MOST_APART)):
                    await asyncio.sleep(0)
            await asyncio.sleep(STAYS_S / 10)
    assert len(served) == ROOMS
    for together in served.values():
        assert sorted(together) == [["a"], ["b"], ["c"]]
