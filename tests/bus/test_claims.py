"""A member of the queue group receives claims; one that leaves answers those already under way."""

import asyncio

import pytest

from antiphon_testing.bus import WITHIN_S
from bus.claims import QueueGroup
from bus.connect import Bus, connect
from bus.errors import NoResponders
from bus.message import Message
from bus.settings import BusSettings
from schemas import subjects

CLAIMANTS = 8  # asking at once, all the time


async def test_no_claim_is_lost_or_doubled_while_a_worker_leaves_and_comes_back(bus: Bus, nats: str) -> None:
    async with connect(BusSettings(url=nats)) as other:
        answered: dict[str, list[bytes]] = {"stays": [], "goes": []}

        def worker(name: str, where: Bus) -> QueueGroup:
            def take(message: Message) -> None:
                answered[name].append(message.data)
                where.publish(message.reply, message.data)

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
                answers.append(await bus.request(subjects.claim("stt"), question, WITHIN_S))
                assert answers[-1] == question

        async with asyncio.timeout(WITHIN_S):
            await asyncio.gather(*(claim_on_and_on(claimant) for claimant in range(CLAIMANTS)))
    assert sorted(answered["stays"] + answered["goes"]) == sorted(answers)


async def test_a_group_that_everybody_left_is_known_to_be_empty(bus: Bus) -> None:
    group = QueueGroup(bus, "tts", lambda message: bus.publish(message.reply, message.data))
    await group.join()
    await group.join()  # twice is once
    assert await bus.request(subjects.claim("tts"), b"x", 1.0) == b"x"
    await group.leave()
    await group.leave()
    with pytest.raises(NoResponders):
        await bus.request(subjects.claim("tts"), b"x", 1.0)
