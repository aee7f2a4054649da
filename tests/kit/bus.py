"""A real nats-server and a connected Bus, in a folder of the test's own.

    async with running_bus(tmp_path) as bus: ...

or, in a conftest.py, `from tests.kit.bus import bus, nats` makes fixtures of them.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from bus import journal, server
from bus.connect import Bus, connect
from bus.settings import BusSettings

PATIENCE_S = 10.0  # nothing here takes longer unless it is broken


async def until(condition: Callable[[], bool]) -> None:
    """Return once it holds: for what has no event of its own."""
    async with asyncio.timeout(PATIENCE_S):
        while not condition():
            await asyncio.sleep(0.01)


async def journaled(bus: Bus, last: int) -> None:
    """Return once the journal holds the sequence `last`."""
    async with asyncio.timeout(PATIENCE_S):
        while (await journal.extent(bus)).last < last:
            await asyncio.sleep(0.01)


def server_pid(data: Path) -> int:
    """Of the server under `data`: it writes its ports into a file that bears its process id."""
    [ports] = (data / "nats").glob("*.ports")
    return int(ports.stem.rpartition("_")[2])


@asynccontextmanager
async def running_bus(data: Path) -> AsyncIterator[Bus]:
    """A server of its own under `data` and one connection to it; both gone on leaving."""
    async with server.serve(data) as url, connect(BusSettings(url=url), "test") as bus:
        yield bus


@pytest.fixture
async def nats(tmp_path: Path) -> AsyncIterator[str]:
    """The URL of a running server."""
    async with server.serve(tmp_path) as url:
        yield url


@pytest.fixture
async def bus(nats: str) -> AsyncIterator[Bus]:
    """A connection to the server of `nats`."""
    async with connect(BusSettings(url=nats), "test") as connected:
        yield connected
