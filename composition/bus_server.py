"""The nats-server of one machine, restarted at the same address when it dies."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

from bus.server import LOG, started
from composition.child_process import Child


class BusServer(Child):
    """A nats-server with its files in the folder `data`. port: None for any free one."""

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
async def open_bus_server(data: Path, port: int | None) -> AsyncIterator[str]:
    """Keep a nats-server running; yields its URL. Raises Unreachable, or StartFailed in a group."""
    server = BusServer(data, port)
    async with asyncio.TaskGroup() as keeping:
        keeper = keeping.create_task(server.keep())
        await server.ready.wait()
        try:
            yield server.url
        finally:
            keeper.cancel()
