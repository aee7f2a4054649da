"""Calls whose workers freeze around the moment of dialling: answered or refused soon, never a caller in silence.

Real processes, frozen by SIGSTOP as a stalled host freezes them, and thawed by SIGCONT.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from antiphon_testing.agents import scripted_agent
from antiphon_testing.processes import Platform, Running, antiphon_up, attach, frozen, running
from antiphon_testing.websocket_caller import Caller, dial
from schemas import events, subjects
from stages.ingress.owner_states import CLAIM_FOR_MS

pytestmark = pytest.mark.realtime

GREETS = scripted_agent("greets", greeting="Hello.", tts={"duration_ms": 100})
FROZEN_S = 0.9  # the longer of the two times that were tried by hand against the claim race
MOMENTS_S = [moment / 100 for moment in range(-10, 10)]  # after the caller dials; an opening takes 20 to 50 ms
DECIDED_WITHIN_S = CLAIM_FOR_MS / 1000 + 0.7  # and what a loaded machine needs
ANSWERED_WITHIN_S = 6.0  # the sound of the greeting, too
ENDED_WITHIN_S = 1.0


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """`antiphon up`, with one worker of each stage."""
    folder: Path = tmp_path_factory.mktemp("frozen")
    with running(folder, "up", "--json", "--warm", "scripted", "--data", folder) as up:
        yield up


@pytest.fixture
async def home(started: Running) -> AsyncIterator[Platform]:
    async with attach(started) as antiphon_up:
        await antiphon_up.set(GREETS)
        yield antiphon_up


async def freeze(pids: Iterable[int], after_s: float, for_s: float = FROZEN_S) -> None:
    await asyncio.sleep(after_s)
    with frozen(pids):
        await asyncio.sleep(for_s)


@asynccontextmanager
async def called_while_frozen(home: Platform, pids: list[int], moment_s: float) -> AsyncIterator[Caller]:
    """A call during which `pids` freeze for FROZEN_S, `moment_s` after it is dialled; negative is before."""
    freezing = asyncio.create_task(freeze(pids, max(0.0, moment_s)))
    try:
        await asyncio.sleep(max(0.0, -moment_s))
        async with dial(home.websocket, GREETS.id) as caller:
            yield caller
    finally:
        await freezing


async def decided(home: Platform, session: str, within_s: float) -> events.Event:
    """`session_opened` or `session_closed`, whichever comes first."""
    async with asyncio.timeout(within_s):
        while True:
            for event in home.events.of(session, events.Event):
                if isinstance(event, events.SessionOpened | events.SessionClosed):
                    return event
            await asyncio.sleep(0.01)


async def pids_of(home: Platform, stages: Iterable[str] = subjects.CLAIMED) -> list[int]:
    return [worker.pid for stage in stages for worker in await home.workers(stage)]


async def test_with_a_second_worker_every_call_is_answered(home: Platform, tmp_path: Path) -> None:
    with running(tmp_path, "run", *subjects.CLAIMED, "--json", "--warm", "scripted", "--data", home.data) as second:
        await second.ready()
        while len(await pids_of(home)) < 2 * len(subjects.CLAIMED):
            await asyncio.sleep(0.05)
        waited = []
        for moment_s in MOMENTS_S:  # the second process works for all stages: each of them is frozen at each moment
            async with called_while_frozen(home, [second.pid], moment_s) as caller:
                began = time.monotonic()
                assert isinstance(await decided(home, caller.session, DECIDED_WITHIN_S), events.SessionOpened), moment_s
                waited.append(time.monotonic() - began)
                await home.events.until(caller.session, events.PlaybackStarted, within_s=ANSWERED_WITHIN_S)
        print(f"opened after {min(waited):.2f} to {max(waited):.2f} s")  # noqa: T201 - shown when the test fails
        await _all_released(home)
        assert await second.end() == 0


@pytest.mark.parametrize("stage", subjects.CLAIMED)
async def test_a_single_worker_that_thaws_answers(home: Platform, stage: str) -> None:
    for moment_s in (-0.3, 0.01):
        async with called_while_frozen(home, await pids_of(home, [stage]), moment_s) as caller:
            decision = await decided(home, caller.session, DECIDED_WITHIN_S)
            assert isinstance(decision, events.SessionOpened), decision
            await home.events.until(caller.session, events.PlaybackStarted, within_s=ANSWERED_WITHIN_S)
    await _all_released(home)


async def test_a_single_worker_that_stays_frozen_is_named_in_time(home: Platform) -> None:
    for stage in (subjects.STT, subjects.EGRESS):
        with frozen(await pids_of(home, [stage])):
            async with dial(home.websocket, GREETS.id) as caller:
                began = time.monotonic()
                closed = await decided(home, caller.session, DECIDED_WITHIN_S)
                assert isinstance(closed, events.SessionClosed)
                assert closed.reason == "no_worker"
                await asyncio.wait_for(caller.over.wait(), ENDED_WITHIN_S)
                assert f'"{stage}"' in caller.problem
                assert time.monotonic() - began < DECIDED_WITHIN_S
    await _all_released(home)


async def test_hanging_up_ends_an_opening_at_once(home: Platform) -> None:
    with frozen(await pids_of(home, [subjects.LLM])):
        async with dial(home.websocket, GREETS.id) as caller:
            await asyncio.sleep(0.5)
            began = time.monotonic()
            await caller.hang_up()
            closed = await decided(home, caller.session, ENDED_WITHIN_S)
            assert isinstance(closed, events.SessionClosed)
            assert closed.reason == "hangup"
            assert time.monotonic() - began < ENDED_WITHIN_S
    await _all_released(home)


@pytest.mark.local
async def test_three_callers_of_cold_workers_are_all_answered(tmp_path: Path) -> None:
    async with antiphon_up(tmp_path, "--warm", "none") as home:

        async def call(after_s: float) -> None:
            await asyncio.sleep(after_s)
            async with dial(home.websocket, "receptionist") as caller:
                opened = await decided(home, caller.session, 40.0)
                assert isinstance(opened, events.SessionOpened), opened
                await home.events.until(caller.session, events.PlaybackStarted)

        await asyncio.gather(*(call(number * 0.15) for number in range(3)))


async def _all_released(home: Platform) -> None:
    """No worker keeps a session: claims that came too late are released, and the rest is closed."""
    async with asyncio.timeout(10):
        while any(worker.sessions for worker in await home.workers()):
            await asyncio.sleep(0.05)
