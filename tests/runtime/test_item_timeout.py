"""Streams whose pieces have a deadline each."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

import pytest

from antiphon_testing.virtual_time import in_virtual_time
from stages.runtime.item_timeout import with_item_timeout

PATIENCE_S = 10.0


async def after(*delays_s: float) -> AsyncGenerator[float, None]:
    for delay_s in delays_s:
        await asyncio.sleep(delay_s)
        yield delay_s


@in_virtual_time
async def test_slow_pieces_are_waited_for_as_long_as_each_keeps_its_deadline() -> None:
    assert [piece async for piece in with_item_timeout(after(9.0, 0.0, 9.9, 9.0), PATIENCE_S)] == [9.0, 0.0, 9.9, 9.0]


@in_virtual_time
async def test_a_piece_that_does_not_come_is_a_timeout_counted_from_when_it_was_asked_for() -> None:
    pieces = with_item_timeout(after(1.0, 11.0), PATIENCE_S)
    assert await anext(pieces) == 1.0
    await asyncio.sleep(60)  # whoever asks may take its time
    asked = asyncio.get_running_loop().time()
    with pytest.raises(TimeoutError):
        await anext(pieces)
    assert asyncio.get_running_loop().time() - asked == pytest.approx(PATIENCE_S)
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0  # nobody else has cancelled it


@in_virtual_time
async def test_who_is_cancelled_while_it_waits_is_cancelled() -> None:
    async def wait() -> None:
        async for _ in with_item_timeout(after(5.0), PATIENCE_S):
            pass

    waiting = asyncio.create_task(wait())
    await asyncio.sleep(1)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting


@in_virtual_time
async def test_who_is_cancelled_at_the_very_deadline_is_cancelled_all_the_same() -> None:
    async def wait() -> None:
        async for _ in with_item_timeout(after(60.0), PATIENCE_S):
            pass

    waiting = asyncio.create_task(wait())
    asyncio.get_running_loop().call_later(PATIENCE_S, waiting.cancel)
    with pytest.raises(asyncio.CancelledError):
        await waiting


@in_virtual_time
async def test_closing_it_closes_the_stream() -> None:
    closed = asyncio.Event()

    async def endless() -> AsyncGenerator[int, None]:
        try:
            while True:
                await asyncio.sleep(1)
                yield 1
        finally:
            closed.set()

    async with aclosing(with_item_timeout(endless(), PATIENCE_S)) as pieces:
        await anext(pieces)
    assert closed.is_set()
