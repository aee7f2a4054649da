"""Figures of several runs, and how they are told."""

from typing import Any

from bench.profile import shares
from bench.report import compared, median, table


def run(p50: float, stt: float = 0.001) -> dict[str, Any]:
    """A report as bench.pipeline makes it."""
    overhead = {"p50": p50, "p95": 2 * p50, "p99": 3 * p50, "max": 4 * p50}
    return {
        "load": "latency",
        "transport": "null",
        "sessions": 1,
        "voice_activity": False,
        "turns": 9,
        "turns_asked": 10,
        "overhead_ms": overhead,
        "hearing_ms": overhead,
        "steps_ms": {"decide": overhead},
        "four_hop_echo_ms": overhead,
        "ratio_p50": 1.0,
        "cpu_s_per_session_s": {"stt": stt, "total": stt},
        "cores": 0.1,
        "other_cores": 0.2,
        "memory_mb": {"base": {"stt": 40.0}},
        "frames_lost": 3,
        "lost": {"gaps": 3},
        "calls_failed": {},
    }


def test_several_runs_are_told_by_their_median_and_their_spread() -> None:
    merged = median([run(5.0), run(3.0), run(4.0)])
    assert (merged["overhead_ms"]["p50"], merged["runs"]) == (4.0, 3)
    assert merged["spread"]["overhead_ms"]["p50"] == [3.0, 5.0]
    assert merged["load"] == "latency"


def test_one_run_has_no_spread() -> None:
    assert median([run(5.0)]) == run(5.0)


def test_what_was_not_answered_and_what_was_lost_is_told() -> None:
    shown = table(run(5.0))
    assert "9 of 10" in shown
    assert "3 {'gaps': 3}" in shown


def test_a_figure_that_grew_is_called_worse_and_one_that_shrank_is_not() -> None:
    lines = compared(run(4.0, stt=0.002), run(5.0)).splitlines()
    grown = next(line for line in lines if "cpu_s_per_session_s.stt" in line)
    shrunk = next(line for line in lines if "overhead_ms.p50" in line)
    assert grown.split()[1:] == ["0.001", "0.002", "2.00", "worse"]
    assert shrunk.split()[1:] == ["5", "4", "0.80", "1.00"]


def test_a_slow_day_of_the_machine_is_no_fault_of_the_code() -> None:
    """Overhead and echo grew alike."""
    lines = compared(run(10.0), run(5.0)).splitlines()
    overhead = next(line for line in lines if "overhead_ms.p50" in line)
    assert overhead.split()[1:] == ["5", "10", "2.00", "1.00"]


def test_what_stays_within_the_spread_of_the_committed_runs_is_not_worse() -> None:
    kept = median([run(4.0, stt=0.001), run(4.0, stt=0.001), run(4.0, stt=0.0015)])
    line = next(line for line in compared(run(4.0, stt=0.0013), kept).splitlines() if "cpu_s_per_session_s.stt" in line)
    assert line.split()[3:] == ["1.30"]


def test_figures_of_another_machine_are_said_to_be_so() -> None:
    there = {**run(5.0), "machine": "a big one"}
    assert "another machine: a big one" in compared({**run(5.0), "machine": "a small one"}, there)
    assert "another machine" not in compared(there, there)


def test_a_loss_in_any_run_is_a_loss() -> None:
    assert median([{**run(5.0), "frames_lost": lost} for lost in (0, 2, 0)])["frames_lost"] == 2


def test_a_function_is_charged_for_itself_and_for_what_it_calls_but_once() -> None:
    frames = [{"name": "run", "file": "a/b/loop.py"}, {"name": "hear", "file": "ear.py"}]
    recording = {"shared": {"frames": frames}, "profiles": [{"samples": [[0], [0, 1], [0, 1, 1], [0, 1]]}]}
    assert shares(recording) == {"run (b/loop.py)": (0.25, 1.0), "hear (ear.py)": (0.75, 0.75)}


def test_a_thread_that_waits_for_work_costs_nothing_and_neither_does_an_idle_loop() -> None:
    waiting = [("_worker", "/lib/concurrent/futures/thread.py"), ("Runner.run", "/lib/asyncio/runners.py")]
    frames = [{"name": name, "file": file} for name, file in [*waiting, ("hear", "x.py")]]
    recording = {"shared": {"frames": frames}, "profiles": [{"samples": [[0], [1], [1, 2]]}]}
    assert shares(recording) == {"Runner.run (asyncio/runners.py)": (0.0, 1.0), "hear (x.py)": (1.0, 1.0)}
