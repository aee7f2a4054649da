"""Who is in the group is asked; who leaves answers what was already on its way; who is not heard learns it."""

import asyncio

import pytest

from bus.beats import Beats
from bus.claims import QueueGroup
from bus.connect import Bus, connect
from bus.errors import NoResponders
from schemas import subjects
from schemas.settings import BusSettings
from tests.kit.bus import PATIENCE_S, until

CLAIMS = 300


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
                await goes.leave()
                await goes.join()
            await goes.leave()

        async def claim(number: int) -> bytes:
            return await bus.request(subjects.claim("stt"), b"%d" % number, PATIENCE_S)

        moving = asyncio.create_task(come_and_go())
        answers = await asyncio.gather(*(claim(number) for number in range(CLAIMS)))
        await moving
    assert answers == [b"%d" % number for number in range(CLAIMS)]
    assert answered["goes"]
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
    beats = Beats(bus, "w1")
    await beats.open()
    heard: list[bytes] = []
    listening = await bus.subscribe(subjects.beats_to("i1"), lambda _subject, data, _reply: heard.append(data))
    beats.send("i1", b"beat")
    await until(lambda: heard == [b"beat"])
    assert beats.unheard_s("i1") == 0.0

    await listening.unsubscribe()

    def nobody() -> bool:
        beats.send("i1", b"beat")
        return beats.unheard_s("i1") > 0.1

    await until(nobody)
    assert beats.unheard_s("i2") == 0.0  # another coordinator is another matter

    await bus.subscribe(subjects.beats_to("i1"), lambda *_: None)

    def somebody() -> bool:
        beats.send("i1", b"beat")
        return beats.unheard_s("i1") == 0.0

    await until(somebody)
