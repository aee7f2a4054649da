"""A real nats-server and a connected Bus, with files in a folder of the test.

    async with running_bus(tmp_path) as bus: ...

In a conftest.py, `from antiphon_testing.bus import bus, nats` makes fixtures of them.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from bus import journal, server
from bus.connect import Bus, connect
from bus.settings import BusSettings

WITHIN_S = 10.0  # seconds; no step takes longer unless something is broken


async def until(condition: Callable[[], bool]) -> None:
    """Return when `condition` returns true, asked every 10 ms. Raises TimeoutError."""
    async with asyncio.timeout(WITHIN_S):
        while not condition():
            await asyncio.sleep(0.01)


async def journaled(bus: Bus, last: int) -> None:
    """Return when the journal holds the sequence number `last`. Raises TimeoutError."""
    async with asyncio.timeout(WITHIN_S):
        while (await journal.extent(bus)).last < last:
            await asyncio.sleep(0.01)


def server_pid(data: Path) -> int:
    """Return the process id of the server under `data`, which names the file of its ports after it."""
    [ports] = (data / "nats").glob("*.ports")
    return int(ports.stem.rpartition("_")[2])


@asynccontextmanager
async def running_bus(data: Path) -> AsyncIterator[Bus]:
    """Run a server with its files under `data`; yield a connection to it."""
    async with server.serve(data) as url, connect(BusSettings(url=url), "test") as bus:
        yield bus


@pytest.fixture
async def nats(tmp_path: Path) -> AsyncIterator[str]:
    """Yield the URL of a running server."""
    async with server.serve(tmp_path) as url:
        yield url


@pytest.fixture
async def bus(nats: str) -> AsyncIterator[Bus]:
    """Yield a connection to the server of `nats`."""
    async with connect(BusSettings(url=nats), "test") as connected:
        yield connected
