"""The platform that is measured: every stage and nats-server is a process, observed from outside."""

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from antiphon_testing.environment import inherited
from bench import measure
from bus.connect import Bus, connect
from bus.settings import BusSettings
from bus.workers import list_workers
from composition import platform
from config_service.client import ConfigClient
from schemas.agent import AgentDocument

ROOM = 2  # a claim answered too late keeps its slot for seconds: twice the slots, so that no call is refused


class Platform:
    """A running platform. pids: name of a stage, `config` or `nats` -> its processes."""

    def __init__(self, bus: Bus, url: str, pids: dict[str, list[int]]) -> None:
        self.bus = bus
        self.url = url
        self.pids = pids

    def cpu_s(self) -> dict[str, float]:
        """Return the seconds of processor time so far, by name."""
        return {name: sum(map(measure.cpu_s, pids)) for name, pids in self.pids.items()}

    def memory_mb(self) -> dict[str, float]:
        """Return the PSS now, by name."""
        return {name: sum(map(measure.pss_mb, pids)) for name, pids in self.pids.items()}

    async def lost(self) -> dict[str, int]:
        """Return the messages lost since the start, by reason."""
        return measure.lost(worker.counters for worker in await list_workers(self.bus))


@asynccontextmanager
async def open_platform(agent: AgentDocument, sessions: int, vad: str = "auto") -> AsyncIterator[Platform]:
    """Run one worker a stage with room for `sessions` calls to `agent`. vad: as `antiphon run stt --vad` takes it."""
    with tempfile.TemporaryDirectory() as folder:
        settings = platform.PlatformSettings(
            Path(folder), inherited(), capacity=max(100, ROOM * sessions), warm="scripted", vad=vad
        )
        async with (
            platform.open_platform(settings, asyncio.Event()) as running,
            connect(BusSettings(url=running.nats)) as bus,
        ):
            await ConfigClient(bus).set([agent])
            pids: dict[str, list[int]] = {}
            for child in running.children:
                assert child.process
                pids.setdefault(child.stage, []).append(child.process.pid)
            pids["nats"] = [measure.below(os.getpid(), "nats-server")]
            yield Platform(bus, running.nats, pids)
