"""Who is in the group is asked; who leaves answers what was already on its way; who is not heard learns it."""

import asyncio
import os
import signal
from pathlib import Path

import pytest

from bus.beats import Heartbeats
from bus.claims import QueueGroup
from bus.connect import Bus, connect
from bus.errors import NoResponders
from schemas import subjects
from schemas.settings import BusSettings
from tests.kit.bus import PATIENCE_S, server_pid, until

CLAIMANTS = 8  # asking at once, all the time


async def test_no_claim_is_lost_or_doubled_while_a_worker_leaves_and_comes_back(bus: Bus, nats: str) -> None:
    async with connect(BusSettings(url=nats)) as other:
        answered: dict[str, list[bytes]] = {"stays": [], "goes": []}

        def worker(name: str, where: Bus) -> QueueGroup:
            def take(_subject: str, data: bytes, reply: str) -> None:
                answered[name].append(data)
                where.publish(reply, data)

            return QueueGroup(where, "stt", take)

        stays, goes = worker("stays", bus), worker("goes", other)
        await stays.join()
        await goes.join()
        await other.flush()

        async def come_and_go() -> None:
            for _ in range(5):
                had = len(answered["goes"])
                while len(answered["goes"]) == had:  # it is asked while it is there, so that leaving can lose something
                    await asyncio.sleep(0)
                await goes.leave()
                await goes.join()
            await goes.leave()

        moving = asyncio.create_task(come_and_go())
        answers: list[bytes] = []

        async def claim_on_and_on(claimant: int) -> None:
            while not moving.done():
                question = b"%d.%d" % (claimant, len(answers))
                answers.append(await bus.request(subjects.claim("stt"), question, PATIENCE_S))
                assert answers[-1] == question

        async with asyncio.timeout(PATIENCE_S):
            await asyncio.gather(*(claim_on_and_on(claimant) for claimant in range(CLAIMANTS)))
    assert sorted(answered["stays"] + answered["goes"]) == sorted(answers)


async def test_a_group_that_everybody_left_is_known_to_be_empty(bus: Bus) -> None:
    group = QueueGroup(bus, "tts", lambda _subject, data, reply: bus.publish(reply, data))
    await group.join()
    await group.join()  # twice is once
    assert await bus.request(subjects.claim("tts"), b"x", 1.0) == b"x"
    await group.leave()
    await group.leave()
    with pytest.raises(NoResponders):
        await bus.request(subjects.claim("tts"), b"x", 1.0)


async def test_a_worker_learns_that_its_coordinator_is_gone_and_that_it_is_back(bus: Bus) -> None:
    beats = Heartbeats(bus, "w1")
    await beats.open()
    heard: list[bytes] = []
    listening = await bus.subscribe(subjects.heartbeats_to("i1"), lambda _subject, data, _reply: heard.append(data))
    beats.send("i1", b"beat")
    await until(lambda: heard == [b"beat"])
    assert beats.unheard_s("i1") == 0.0

    await listening.unsubscribe()

    def nobody() -> bool:
        beats.send("i1", b"beat")
        return beats.unheard_s("i1") > 0.1

    await until(nobody)
    assert beats.unheard_s("i2") == 0.0  # another coordinator is another matter

    await bus.subscribe(subjects.heartbeats_to("i1"), lambda *_: None)

    def somebody() -> bool:
        beats.send("i1", b"beat")
        return beats.unheard_s("i1") == 0.0

    await until(somebody)


async def test_a_worker_that_is_cut_off_from_the_bus_is_heard_by_nobody(bus: Bus, tmp_path: Path) -> None:
    beats = Heartbeats(bus, "w1")
    await beats.open()
    await bus.subscribe(subjects.heartbeats_to("i1"), lambda *_: None)

    def unheard() -> bool:
        beats.send("i1", b"beat")
        return beats.unheard_s("i1") > 0.1

    assert not unheard()
    server = server_pid(tmp_path)
    os.kill(server, signal.SIGSTOP)
    try:
        await until(unheard)
    finally:
        os.kill(server, signal.SIGCONT)
    await until(lambda: not unheard())
