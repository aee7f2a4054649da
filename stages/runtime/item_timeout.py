"""A deadline for each item of a stream, kept by one timer for all of them."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import TypeVar

from stages.runtime.deadline import Deadline

T = TypeVar("T")


async def with_item_timeout(stream: AsyncGenerator[T, None], timeout_s: float) -> AsyncGenerator[T, None]:
    """Yield the items of `stream`; raises TimeoutError if the next one takes longer than `timeout_s`.

    Closing this closes the stream. The time between an item and the request for the next one does not count. A timer
    for each item, as asyncio.timeout would set it, costs more than most items do.
    """
    timeout = _ItemTimeout(timeout_s)
    try:
        async with aclosing(stream):
            while True:
                timeout.begin()
                try:
                    item = await anext(stream)
                except StopAsyncIteration:
                    return
                except asyncio.CancelledError:
                    timeout.explain()
                    raise
                timeout.end()
                yield item
    finally:
        timeout.stop()


class _ItemTimeout:
    """Cancels the current task when it has waited too long for an item, as asyncio.Timeout does."""

    def __init__(self, timeout_s: float) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        self._cancelled = task.cancelling()  # by others, before
        self._loop = asyncio.get_running_loop()
        self._timeout_ms = timeout_s * 1000
        self._deadline = Deadline(self._now_ms, lambda ms, fire: self._loop.call_later(ms / 1000, fire), self._expire)
        self._expired = False

    def begin(self) -> None:
        """Start to wait for an item."""
        self._deadline.set(self._now_ms() + self._timeout_ms)

    def end(self) -> None:
        """Note that the item has come."""
        self._deadline.set(None)

    def stop(self) -> None:
        """Cancel the timer."""
        self._deadline.stop()

    def explain(self) -> None:
        """Raise TimeoutError if this deadline alone cancelled the task."""
        if self._expired and self._task.uncancel() <= self._cancelled:
            raise TimeoutError

    def _now_ms(self) -> float:
        return self._loop.time() * 1000

    def _expire(self) -> None:
        self._expired = True
        self._task.cancel()
