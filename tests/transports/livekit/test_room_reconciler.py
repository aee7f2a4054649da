"""Rooms that LiveKit has forgotten are asked for again, and no others."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import numpy as np
import pytest

from antiphon_testing.bus import until
from bus import journal
from bus.connect import Bus
from schemas.subjects import event, new_id
from transports.livekit import room_reconciler
from transports.livekit.identities import agent_identity, ingress_identity
from transports.livekit.room_lease import room_lease
from transports.livekit.room_reconciler import CALM_S, LONGEST_PAUSE_S, Backoff, RoomReconciler
from transports.livekit.room_service import OccupiedRoom

PEOPLE = frozenset({"PA_1"})


class Server:
    """What a LiveKit would say: who waits, and for whom it was asked again."""

    def __init__(self) -> None:
        self.rooms: list[OccupiedRoom] = []
        self.looks = 0
        self.asked: list[str] = []
        self.dismissed: list[tuple[str, str]] = []
        self.away = False

    async def occupied_rooms(self) -> list[OccupiedRoom]:
        self.looks += 1
        if self.away:
            raise ConnectionError("LiveKit cannot be reached")
        return self.rooms

    async def remove(self, room: str, identity: str) -> bool:
        self.dismissed.append((room, identity))
        return True

    async def dispatch_again(self, room: str) -> None:
        self.asked.append(room)

    async def looked(self, times: int = 3) -> None:
        already = self.looks
        await until(lambda: self.looks >= already + times)


@asynccontextmanager
async def looking(bus: Bus, server: Server) -> AsyncIterator[RoomReconciler]:
    ours = RoomReconciler(bus, server)
    await ours.listen()
    await bus.flush()
    task = asyncio.create_task(ours.run())
    try:
        yield ours
    finally:
        task.cancel()


@pytest.fixture(autouse=True)
def in_haste(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room_reconciler, "LOOK_EVERY_S", 0.02)


async def test_who_waits_for_an_agent_at_two_looks_has_been_forgotten(bus: Bus) -> None:
    server = Server()
    async with looking(bus, server):
        server.rooms = [OccupiedRoom("lobby", "RM_1", PEOPLE)]
        await until(lambda: server.asked != [])
    assert set(server.asked) == {"lobby"}
    assert server.looks >= 2


async def test_a_room_that_somebody_serves_is_left_to_them(bus: Bus) -> None:
    server, session = Server(), new_id()
    async with looking(bus, server), room_lease(bus, "lobby", "RM_1", session, lambda: None):
        server.rooms = [OccupiedRoom("lobby", "RM_1", PEOPLE, (agent_identity(session),))]
        await server.looked()
        assert server.asked == []
        assert server.dismissed == []


async def test_what_a_dead_session_left_in_its_room_is_taken_out_before_another_is_asked_for(bus: Bus) -> None:
    server, session = Server(), new_id()
    await journal.ensure(bus)
    bus.publish(event("desk", session, "ingress.session_opened"), b"of ours")
    async with looking(bus, server):
        server.rooms = [OccupiedRoom("lobby", "RM_1", PEOPLE, (ingress_identity(session), agent_identity(session)))]
        await until(lambda: server.asked != [])
    assert set(server.dismissed) == {("lobby", f"ingress-{session}"), ("lobby", f"agent-{session}")}


async def test_an_agent_of_others_at_the_same_livekit_is_left_in_peace(bus: Bus) -> None:
    server = Server()
    await journal.ensure(bus)
    async with looking(bus, server):
        server.rooms = [OccupiedRoom("lobby", "RM_1", PEOPLE, (agent_identity(new_id()),))]
        await server.looked()
    assert server.asked == []
    assert server.dismissed == []


async def test_a_room_whose_call_ended_in_good_order_is_left_alone_by_every_ingress(bus: Bus) -> None:
    server, theirs = Server(), Server()
    async with looking(bus, server) as ours, looking(bus, theirs):
        ours.session_over("lobby", "RM_1", PEOPLE)
        await bus.flush()
        server.rooms = theirs.rooms = [OccupiedRoom("lobby", "RM_1", PEOPLE)]
        await server.looked()
        await theirs.looked()
        assert server.asked + theirs.asked == []
        server.rooms = [OccupiedRoom("lobby", "RM_2", PEOPLE)]  # a later room of that name
        await until(lambda: server.asked != [])


async def test_who_enters_a_room_after_its_call_ended_gets_an_agent(bus: Bus) -> None:
    server = Server()
    async with looking(bus, server) as ours:
        ours.session_over("lobby", "RM_1", PEOPLE)
        ours.session_over("lobby", "RM_1", {"PA_2"})  # a second call there
        await bus.flush()
        server.rooms = [OccupiedRoom("lobby", "RM_1", PEOPLE | {"PA_2"})]
        await server.looked()
        assert server.asked == []
        server.rooms = [OccupiedRoom("lobby", "RM_1", PEOPLE | {"PA_3"})]
        await until(lambda: server.asked != [])


async def test_a_room_that_everybody_left_is_taken_up_for_who_comes_back(bus: Bus) -> None:
    server = Server()
    async with looking(bus, server) as ours:
        ours.session_over("lobby", "RM_1", ())
        await bus.flush()
        server.rooms = [OccupiedRoom("lobby", "RM_1", PEOPLE)]
        await until(lambda: server.asked != [])


async def test_a_server_that_cannot_be_asked_is_asked_later(bus: Bus) -> None:
    server = Server()
    server.away = True
    async with looking(bus, server):
        await server.looked()
        server.rooms, server.away = [OccupiedRoom("lobby", "RM_1", PEOPLE)], False
        await until(lambda: server.asked != [])


def times_asked(asked: Backoff, begin: float, end: float) -> list[float]:
    """Looking each 2.5 s from `begin` on."""
    return [now for now in np.arange(begin, end, 2.5).tolist() if asked.allows("RM_1", now)]


def test_a_room_whose_agent_fails_each_time_is_asked_for_more_rarely(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room_reconciler, "LOOK_EVERY_S", 5.0)
    asked = Backoff()
    times = times_asked(asked, 0, 300)
    assert times[:5] == [0, 5, 15, 35, 65]
    assert set(np.diff(times[3:])) == {LONGEST_PAUSE_S}
    assert asked.allows("RM_2", 300)


def test_a_room_that_was_served_for_a_while_is_asked_for_as_if_it_had_never_been(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(room_reconciler, "LOOK_EVERY_S", 5.0)
    asked = Backoff()
    assert times_asked(asked, 0, 40) == [0, 5, 15, 35]
    again = 35 + LONGEST_PAUSE_S + CALM_S
    assert times_asked(asked, again, again + 20) == [again, again + 5, again + 15]
    asked.keep({"RM_2"})
    assert times_asked(asked, again + 20, again + 22) == [again + 20]
