"""Workers whose clocks are two minutes off: what a person reads of a call does not change."""

import sys
from pathlib import Path

import pytest

from antiphon_testing import processes
from antiphon_testing.agents import scripted_agent
from antiphon_testing.processes import antiphon_up, frozen, running
from antiphon_testing.websocket_caller import dial
from schemas import events, subjects
from session.latency import by_ingress, waterfall
from session.state import SessionState, fold

ECHO = scripted_agent("echo", stt={"texts": ["one"]})
MINUTES_US = 120_000_000
SKEWED = """
import time
clock = time.time_ns
time.time_ns = lambda: clock() + {ahead_us} * 1_000
from cli.main import main
main()
"""
A_FEW_MS = 20_000  # us; the shortest of a few messages, on a loaded machine


@pytest.mark.realtime
@pytest.mark.parametrize("ahead_us", [MINUTES_US, -MINUTES_US])
async def test_latencies_are_those_of_one_clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ahead_us: int) -> None:
    async with antiphon_up(tmp_path) as home:
        await home.set(ECHO)
        ours = [worker.pid for stage in subjects.CLAIMED for worker in await home.workers(stage)]
        monkeypatch.setattr(processes, "COMMAND", (sys.executable, "-c", SKEWED.format(ahead_us=ahead_us)))
        options = ("--json", "--warm", "scripted", "--data", home.data)
        with running(tmp_path, "run", *subjects.CLAIMED, *options) as skewed:
            await processes.until(lambda: len(skewed.lines()) == len(subjects.CLAIMED), 30)
            with frozen(ours):  # every claim goes to the workers whose clock is off
                async with dial(home.websocket, ECHO.id) as caller:
                    opened = await home.events.until(caller.session, events.SessionOpened)
                    await home.ask(caller, 1)
                await home.events.until(caller.session, events.SessionClosed)
    for stage in subjects.CLAIMED:
        assert abs(opened.clock_offset_us[stage] - ahead_us) < A_FEW_MS, stage
    state = SessionState()
    for event in home.events.of(caller.session, events.Event):
        state = fold(state, event)
    [(number, turn)] = state.turns.items()
    assert abs(turn.started - opened.time) > MINUTES_US / 2, "the worker's clock is off"
    falls = waterfall(state, number)
    assert falls is not None
    assert falls.total_ms is not None
    assert 0 < falls.total_ms < 5_000
    started, stopped = by_ingress(state, subjects.LLM, turn.started), by_ingress(state, subjects.EGRESS, turn.stopped)
    assert opened.time < started < stopped < opened.time + 20_000_000
