"""Outputs of a recognizer that produces them in callbacks, as the async iterator that the contract asks for."""

import asyncio
from collections.abc import AsyncIterator

from stages.runtime.providers import ProviderError
from stages.stt.contract import Heard

MOST_WAITING = 1_000  # the stage reads at once, so more than a few mean that nothing reads any more


class HeardQueue:
    """A bounded queue of outputs that ends, or fails, after those that were put before."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[Heard | ProviderError | None] = asyncio.Queue()
        self.ended = False

    def put(self, heard: Heard) -> None:
        """Yield `heard` next. Does nothing after the end."""
        if self.ended:
            return
        if self._queue.qsize() >= MOST_WAITING:
            self.fail(ProviderError("server", f"{MOST_WAITING} outputs of the recognizer wait to be read"))
            return
        self._queue.put_nowait(heard)

    def end(self) -> None:
        """Let the iterator end."""
        self._close(None)

    def fail(self, error: ProviderError) -> None:
        """Let the iterator raise `error`."""
        self._close(error)

    async def heard(self) -> AsyncIterator[Heard]:
        while (item := await self._queue.get()) is not None:
            if isinstance(item, ProviderError):
                raise item
            yield item

    def _close(self, last: ProviderError | None) -> None:
        if not self.ended:
            self.ended = True
            self._queue.put_nowait(last)
