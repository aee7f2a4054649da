"""What the bus promises: order, answers or the lack of them at once, and no stale sound after an outage."""

import asyncio
import os
import random
import signal
import time
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from antiphon_testing.bus import WITHIN_S, server_pid, until
from bus import server
from bus.connect import Bus, connect
from bus.errors import NoAnswer, NoResponders, Unreachable
from bus.message import Message
from bus.settings import BusSettings
from composition.addresses import free_port


class Ear:
    """Hears messages, and lets a test wait for so many of them."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []
        self._came = asyncio.Event()

    def __call__(self, message: Message) -> None:
        self.heard.append(message.data)
        self._came.set()

    async def hears(self, last: bytes) -> list[bytes]:
        """Everything heard up to and with `last`."""
        async with asyncio.timeout(WITHIN_S):
            while last not in self.heard:
                self._came.clear()
                await self._came.wait()
        return self.heard


async def test_what_one_says_is_heard_in_order(bus: Bus) -> None:
    ear = Ear()
    await bus.subscribe("story.*", ear)
    said = [str(number).encode() for number in range(5_000)]
    for word in said:
        bus.publish("story.told", word)
    assert await ear.hears(said[-1]) == said


async def test_frames_arrive_in_order_on_their_own_connection(bus: Bus) -> None:
    ear = Ear()
    await bus.subscribe_media("media.*", ear)
    await bus.flush()
    frames = [number.to_bytes(4, "little") * 320 for number in range(1_000)]
    for frame in frames:
        bus.publish_media("media.w1", frame)
    assert await ear.hears(frames[-1]) == frames
    assert bus.undelivered == 0


async def test_frames_that_linger_keep_their_place_among_those_that_do_not(bus: Bus) -> None:
    ear = Ear()
    await bus.subscribe_media("media.*", ear)
    await bus.flush()
    frames = [number.to_bytes(4, "little") * 320 for number in range(300)]
    for number, frame in enumerate(frames):
        bus.publish_media("media.w1", frame, lingers=number % 3 > 0)
        if number % 7 == 0:
            await asyncio.sleep(0)
    assert await ear.hears(frames[-1]) == frames  # the last of them with nothing behind it that would send it


async def test_who_asks_nobody_knows_it_at_once(bus: Bus) -> None:
    started = time.monotonic()
    with pytest.raises(NoResponders, match="cannot ask quiet: no process serves it"):
        await bus.request("quiet", b"", 5.0)
    assert time.monotonic() - started < 1.0  # of the five seconds it would have waited


async def test_who_is_not_answered_learns_it_in_time(bus: Bus) -> None:
    await bus.subscribe("mute", Ear())
    with pytest.raises(NoAnswer, match="cannot ask mute: no answer within 50 ms"):
        await bus.request("mute", b"", 0.05)


async def test_an_answer_comes_back_to_who_asked(bus: Bus) -> None:
    await bus.subscribe("echo", lambda message: bus.publish(message.reply, message.data[::-1]))
    assert await bus.request("echo", b"abc", 1.0) == b"cba"


async def test_what_was_said_before_a_question_is_heard_before_it(bus: Bus) -> None:
    heard: list[bytes] = []

    def note(message: Message) -> None:
        heard.append(message.data)
        if message.reply:
            bus.publish(message.reply, b"")

    await bus.subscribe("talk", note)
    bus.publish("talk", b"first")
    await bus.request("talk", b"second", 1.0)
    assert heard == [b"first", b"second"]


async def test_asking_everybody_brings_all_answers_soon_after_the_last(bus: Bus) -> None:
    for name in (b"a", b"b", b"c"):
        await bus.subscribe("who", lambda message, name=name: bus.publish(message.reply, name))  # type: ignore[misc]
    started = time.monotonic()
    assert sorted(await bus.gather("who", b"", within_s=5.0, quiet_s=0.1)) == [b"a", b"b", b"c"]
    assert time.monotonic() - started < 2.0  # of the five it may take
    assert await bus.gather("nobody", b"", within_s=0.1, quiet_s=0.05) == []


async def test_a_server_that_is_not_there_is_named_with_the_reason() -> None:
    url = f"nats://someone:hush@127.0.0.1:{free_port()}"
    with pytest.raises(
        Unreachable, match=r"cannot reach NATS at nats://127\.0\.0\.1:\d+: Connection refused\."
    ) as refused:
        async with connect(BusSettings(url=url)):
            pass
    assert "hush" not in str(refused.value)
    assert "\n" not in str(refused.value)


async def test_facts_said_during_an_outage_arrive_and_frames_do_not(tmp_path: Path) -> None:
    port = free_port()
    events, frames = Ear(), Ear()
    async with AsyncExitStack() as servers, AsyncExitStack() as ours:
        url = await servers.enter_async_context(server.serve(tmp_path, port))
        bus = await ours.enter_async_context(connect(BusSettings(url=url)))
        await bus.subscribe("fact", events)
        await bus.subscribe_media("frame", frames)
        bus.publish("fact", b"before")
        await events.hears(b"before")
        await servers.aclose()
        await until(lambda: not bus.connected)
        bus.publish("fact", b"meanwhile")
        for _ in range(100):
            bus.publish_media("frame", b"stale")
        await until(lambda: bus.undelivered == 100)
        await servers.enter_async_context(server.serve(tmp_path, port))
        await events.hears(b"meanwhile")
        bus.publish("fact", b"after")
        assert await events.hears(b"after") == [b"before", b"meanwhile", b"after"]
        assert b"stale" not in await heard_again(bus, frames)
        assert bus.reconnects == 1


async def test_frames_that_a_frozen_server_never_took_do_not_sound_later(tmp_path: Path) -> None:
    port = free_port()
    frames = Ear()
    async with AsyncExitStack() as servers, AsyncExitStack() as ours:
        url = await servers.enter_async_context(server.serve(tmp_path, port))
        bus = await ours.enter_async_context(connect(BusSettings(url=url)))
        await bus.subscribe_media("frame", frames)
        await bus.flush()
        os.kill(server_pid(tmp_path), signal.SIGSTOP)
        await until(lambda: frozen(server_pid(tmp_path)))
        for _ in range(4_000):  # more than the buffers of two sockets hold, so that it piles up on our side
            bus.publish_media("frame", b"stale" + bytes(4_800))
            await asyncio.sleep(0)
        os.kill(server_pid(tmp_path), signal.SIGKILL)
        await servers.aclose()
        await until(lambda: not bus.connected)
        await servers.enter_async_context(server.serve(tmp_path, port))
        assert {frame[:5] for frame in await heard_again(bus, frames)} == {b"fresh"}


def frozen(pid: int) -> bool:
    """Whether a signal to stop has taken effect, which it does a moment after `kill` returns."""
    stat = Path(f"/proc/{pid}/stat")
    return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] == "T"


async def heard_again(bus: Bus, frames: Ear) -> list[bytes]:
    """What a listener has heard by the time that a frame gets through again."""
    async with asyncio.timeout(WITHIN_S):
        while b"fresh" not in frames.heard:
            bus.publish_media("frame", b"fresh")
            await asyncio.sleep(0.01)
    return frames.heard


async def test_who_leaves_while_the_server_is_away_leaves_nothing_behind(tmp_path: Path) -> None:
    """Not even a task that dials for ever, which would keep the process: one of fifty who left did, without care."""

    async def leave(stack: AsyncExitStack) -> None:
        await asyncio.sleep(random.random() / 2)
        await stack.aclose()

    async with server.serve(tmp_path) as url:
        before = asyncio.all_tasks()
        stacks = [AsyncExitStack() for _ in range(100)]
        for stack in stacks:
            await stack.enter_async_context(connect(BusSettings(url=url)))
        os.kill(server_pid(tmp_path), signal.SIGKILL)
        await asyncio.gather(*(leave(stack) for stack in stacks))
        await until(lambda: asyncio.all_tasks() <= before)
