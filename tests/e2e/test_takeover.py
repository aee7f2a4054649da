"""Workers are killed and frozen in the middle of calls: every call goes on, and no word is lost or doubled."""

import asyncio
import os
import random
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
import pytest_asyncio

from antiphon_testing.numbered_calls import AGENT, NumberedCall, numbered_call
from antiphon_testing.processes import Platform, antiphon_up
from schemas import subjects

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.realtime]

CALLS = 3
MOMENTS = 2  # for each stage and fault
FROZEN_S = 2.0


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def home(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Platform]:
    async with antiphon_up(tmp_path_factory.mktemp("platform"), "--workers", "stt=2,llm=2,tts=2,egress=2") as running:
        await running.set(AGENT)
        yield running


async def owner_pid(home: Platform, call: NumberedCall, stage: str) -> int:
    """The process that owns `stage` of a call now."""
    async with asyncio.timeout(30):
        while True:
            worker = call.state.owners[stage].worker
            for status in await home.workers(stage):
                if status.id == worker:
                    return status.pid


async def kill(pid: int) -> None:
    """End the process at once."""
    os.kill(pid, signal.SIGKILL)


async def freeze(pid: int) -> None:
    """Stop the process until another has taken over, then let it wake up."""
    os.kill(pid, signal.SIGSTOP)
    try:
        await asyncio.sleep(FROZEN_S)
    finally:
        os.kill(pid, signal.SIGCONT)


@pytest.mark.parametrize("fault", [kill, freeze])
@pytest.mark.parametrize("stage", subjects.CLAIMED)
async def test_a_call_goes_on_when_the_owner_of_a_stage_is_gone(home: Platform, stage: str, fault: object) -> None:
    assert callable(fault)
    seed = random.randrange(1_000_000)
    moments = random.Random(seed)
    async with AsyncExitStack() as stack:
        calls = [
            await stack.enter_async_context(numbered_call(home.bus, home.websocket, seed + number))
            for number in range(CALLS)
        ]
        done = asyncio.Event()

        async def converse(call: NumberedCall) -> None:
            await call.converse(1)
            while not done.is_set():
                await call.ask()

        async with asyncio.TaskGroup() as tasks:
            for call in calls:
                tasks.create_task(converse(call))
            await asyncio.sleep(1)
            for _ in range(MOMENTS):
                await asyncio.sleep(moments.uniform(0.5, 2.0))
                victim = moments.choice(calls)
                epoch = victim.state.owners[stage].epoch
                await fault(await owner_pid(home, victim, stage))
                async with asyncio.timeout(30):
                    while victim.state.owners[stage].epoch == epoch and not victim.over:
                        await asyncio.sleep(0.02)
            done.set()
        assert [call.problems() for call in calls] == [[]] * CALLS, f"seed {seed}"
        if stage != subjects.TTS:
            assert [call.repeated for call in calls] == [0] * CALLS, f"seed {seed}"
