"""Outputs that are put come out of the iterator, in order, until it ends or fails."""

import pytest

from stages.runtime.providers import ProviderError
from stages.stt.contract import Heard, HeardFinal
from stages.stt.heard_queue import MOST_WAITING, HeardQueue

ONE, OTHER = HeardFinal("one", 0, 1), HeardFinal("other", 1, 2)


async def collect(queue: HeardQueue, found: list[Heard]) -> None:
    async for heard in queue.heard():
        found.append(heard)


async def test_outputs_come_in_order_and_none_after_the_end() -> None:
    queue, found = HeardQueue(), list[Heard]()
    queue.put(ONE)
    queue.put(OTHER)
    queue.end()
    queue.put(ONE)
    await collect(queue, found)
    assert found == [ONE, OTHER]


async def test_a_failure_is_raised_behind_the_outputs_before_it() -> None:
    queue, found = HeardQueue(), list[Heard]()
    queue.put(ONE)
    queue.fail(ProviderError("server", "broke"))
    queue.end()
    with pytest.raises(ProviderError, match="broke"):
        await collect(queue, found)
    assert found == [ONE]


async def test_outputs_that_nothing_reads_are_an_error_and_no_leak() -> None:
    queue, found = HeardQueue(), list[Heard]()
    for _ in range(2 * MOST_WAITING):
        queue.put(ONE)
    with pytest.raises(ProviderError, match="wait to be read"):
        await collect(queue, found)
    assert len(found) == MOST_WAITING
