"""A stream of which every piece has its deadline, kept by one timer for all of them."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import TypeVar

T = TypeVar("T")


async def with_item_timeout(stream: AsyncGenerator[T, None], patience_s: float) -> AsyncGenerator[T, None]:
    """What `stream` yields; raises TimeoutError where a piece takes longer than `patience_s`.

    Closing this closes the stream. To set a timer for each piece and cancel it again, as asyncio.timeout does, would
    cost more than most pieces do.
    """
    watch = _Watch(patience_s)
    try:
        async with aclosing(stream):
            while True:
                watch.begin()
                try:
                    piece = await anext(stream)
                except StopAsyncIteration:
                    return
                except asyncio.CancelledError:
                    watch.explain()
                    raise
                watch.end()
                yield piece
    finally:
        watch.stop()


class _Watch:
    """Cancels the task that waits for longer than it may, as asyncio.Timeout would."""

    def __init__(self, patience_s: float) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        self._cancelled = task.cancelling()  # by others, before
        self._patience_s = patience_s
        self._loop = asyncio.get_running_loop()
        self._since: float | None = None  # when the wait began; None: nobody waits
        self._expired = False
        self._timer = self._loop.call_later(patience_s, self._look)

    def begin(self) -> None:
        """A wait begins."""
        self._since = self._loop.time()

    def end(self) -> None:
        """It was not in vain."""
        self._since = None

    def stop(self) -> None:
        self._timer.cancel()

    def explain(self) -> None:
        """Raises TimeoutError if it was this that cancelled the task, and nobody else."""
        if self._expired and self._task.uncancel() <= self._cancelled:
            raise TimeoutError

    def _look(self) -> None:
        now = self._loop.time()
        since = now if self._since is None else self._since
        if now - since >= self._patience_s:
            self._expired = True
            self._task.cancel()
        else:
            self._timer = self._loop.call_at(since + self._patience_s, self._look)
