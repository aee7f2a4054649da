"""Rooms that LiveKit has forgotten are asked for again, and no others."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from bus.connect import Bus
from stages.ingress import forgotten
from stages.ingress.forgotten import Forgotten
from stages.ingress.hold import hold
from tests.kit.bus import until


class Server:
    """What a LiveKit would say: who waits, and for whom it was asked again."""

    def __init__(self) -> None:
        self.rooms: list[tuple[str, str]] = []
        self.looks = 0
        self.asked: list[str] = []
        self.away = False

    async def waiting(self) -> list[tuple[str, str]]:
        self.looks += 1
        if self.away:
            raise ConnectionError("LiveKit cannot be reached")
        return self.rooms

    async def ask_again(self, room: str) -> None:
        self.asked.append(room)

    async def looked(self, times: int = 3) -> None:
        already = self.looks
        await until(lambda: self.looks >= already + times)


@asynccontextmanager
async def looking(bus: Bus, server: Server) -> AsyncIterator[Forgotten]:
    ours = Forgotten(bus, server)
    await ours.listen()
    await bus.flush()
    task = asyncio.create_task(ours.look())
    try:
        yield ours
    finally:
        task.cancel()


@pytest.fixture(autouse=True)
def in_haste(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forgotten, "LOOK_EVERY_S", 0.02)


async def test_who_waits_for_an_agent_at_two_looks_has_been_forgotten(bus: Bus) -> None:
    server = Server()
    async with looking(bus, server):
        server.rooms = [("lobby", "RM_1")]
        await until(lambda: server.asked != [])
    assert set(server.asked) == {"lobby"}
    assert server.looks >= 2


async def test_a_room_that_somebody_serves_is_left_to_them(bus: Bus) -> None:
    server = Server()
    async with looking(bus, server), hold(bus, "lobby", "RM_1", "s1", lambda: None):
        await bus.flush()
        server.rooms = [("lobby", "RM_1")]
        await server.looked()
        assert server.asked == []


async def test_a_room_whose_call_ended_in_good_order_is_left_alone_by_every_ingress(bus: Bus) -> None:
    server, theirs = Server(), Server()
    async with looking(bus, server) as ours, looking(bus, theirs):
        ours.is_over("lobby", "RM_1")
        await bus.flush()
        server.rooms = theirs.rooms = [("lobby", "RM_1")]
        await server.looked()
        await theirs.looked()
        assert server.asked + theirs.asked == []
        server.rooms = [("lobby", "RM_2")]  # a later room of that name
        await until(lambda: server.asked != [])


async def test_a_server_that_cannot_be_asked_is_asked_later(bus: Bus) -> None:
    server = Server()
    server.away = True
    async with looking(bus, server):
        await server.looked()
        server.rooms, server.away = [("lobby", "RM_1")], False
        await until(lambda: server.asked != [])
