"""A worker of a stage put together from its settings."""

import asyncio

import pytest

from antiphon_testing.bus import bus, nats
from bus.connect import Bus
from bus.workers import list_workers
from composition.worker import WorkerSettings, open_stage
from schemas import subjects
from stages.runtime.providers import ProviderMissing

__all__ = ["bus", "nats"]
WITHIN_S = 10.0


@pytest.mark.parametrize("stage", subjects.CLAIMED)
async def test_every_stage_runs_and_drains(bus: Bus, stage: str) -> None:
    settings = WorkerSettings(stage, capacity=3, drain_s=0, warm=() if stage == subjects.EGRESS else ("scripted",))
    async with open_stage(bus, settings) as opened:
        stop = asyncio.Event()
        running = asyncio.create_task(opened.run(stop))
        async with asyncio.timeout(WITHIN_S):
            await opened.ready()
            [status] = await list_workers(bus)
            assert (status.stage, status.capacity, status.state) == (stage, 3, "ready")
            stop.set()
            await running


async def test_a_warm_provider_that_does_not_exist_keeps_the_worker_from_starting(bus: Bus) -> None:
    with pytest.raises(ProviderMissing, match="llm has no provider 'nobody'"):
        async with open_stage(bus, WorkerSettings(subjects.LLM, warm=("nobody",))):
            pass
