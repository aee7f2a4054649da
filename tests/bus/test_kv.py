"""The shared cache: direct reads, and writes that only succeed on what was read."""

import asyncio
from contextlib import suppress

import pytest

from antiphon_testing.bus import WITHIN_S
from bus import kv
from bus.connect import Bus
from bus.errors import Unreachable

PAGE = 100_000  # subjects in one answer of nats-server


async def test_a_value_is_read_directly_and_from_another_handle(bus: Bus) -> None:
    writer = await kv.bucket(bus, "things", create=True)
    assert await writer.get("a") is None
    assert await writer.keys() == []
    assert await writer.replace("a", b"1", 0)
    asked: list[str] = []
    await bus.subscribe("$JS.API.>", lambda message: asked.append(message.subject))
    reader = await kv.bucket(bus, "things")
    assert await reader.get("a") == b"1"
    assert await reader.keys() == ["a"]
    assert asked[0].startswith("$JS.API.DIRECT.GET.KV_things")


async def test_of_two_who_read_the_same_only_the_first_writes(bus: Bus) -> None:
    bucket = await kv.bucket(bus, "things", create=True)
    assert await bucket.replace("a", b"first", 0)
    assert not await bucket.replace("a", b"late", 0)
    entry = await bucket.read("a")
    assert entry
    won = await asyncio.gather(*(bucket.replace("a", b"%d" % number, entry.revision) for number in range(10)))
    assert sum(won) == 1
    assert await bucket.get("a") == b"%d" % won.index(True)


async def test_what_was_deleted_may_be_made_anew(bus: Bus) -> None:
    bucket = await kv.bucket(bus, "things", create=True)
    assert await bucket.replace("a", b"1", 0)
    await bucket.delete("a")
    assert await bucket.get("a") is None
    assert await bucket.keys() == ["a"]  # as its mark
    assert await bucket.replace("a", b"2", 0)
    assert await bucket.get("a") == b"2"


async def test_a_bucket_that_is_not_there_shows_at_the_first_read(bus: Bus) -> None:
    with pytest.raises(Unreachable, match="cannot reach the KV store"):
        await (await kv.bucket(bus, "nothing")).get("a")


async def test_a_key_is_told_while_its_bucket_is_written_to(bus: Bus) -> None:
    bucket = await kv.bucket(bus, "things", create=True)
    assert await bucket.replace("a", b"1", 0)
    for _ in range(200):
        for _ in range(50):
            bus.publish("$KV.things.a", b"2", "nobody.listens")
        assert await bucket.keys() == ["a"]


async def test_more_keys_than_the_server_tells_at_once_are_all_told(bus: Bus) -> None:
    bucket = await kv.bucket(bus, "things", create=True)
    names = {f"k{number}" for number in range(PAGE + 1)}
    for name in names:
        await bus.client.publish(f"$KV.things.{name}", b"1")
    async with asyncio.timeout(3 * WITHIN_S):
        while True:
            with suppress(Unreachable):  # a loaded machine may need longer than a second for so many
                told = await bucket.keys()
                if len(told) == len(names):
                    break
            await asyncio.sleep(0.1)
    assert set(told) == names
