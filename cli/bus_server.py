"""The nats-server of one machine, started again where everybody knows it to be."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

from bus.server import LOG, started
from cli.child_process import Child


class BusServer(Child):
    """A nats-server in the folder `data`, at `port`, or any free one if that is None."""

    def __init__(self, data: Path, port: int | None) -> None:
        super().__init__("nats", 0, [], data)
        self._log = data / LOG
        self._data = data
        self._port = port

    async def _live_once(self) -> None:
        async with started(self._data, self._port) as server:
            self.url = server.url
            self._port = urlsplit(server.url).port
            self.ready.set()
            await server.process.wait()


@asynccontextmanager
async def kept(data: Path, port: int | None) -> AsyncIterator[str]:
    """It, ready, as long as it lives again and again; yields its URL. Raises Unreachable, or Failed in a group."""
    server = BusServer(data, port)
    async with asyncio.TaskGroup() as keeping:
        keeper = keeping.create_task(server.keep())
        await server.ready.wait()
        try:
            yield server.url
        finally:
            keeper.cancel()
