"""What was promised, held against the figures of a folder."""

import json
from pathlib import Path
from typing import Any

import pytest

from bench import targets
from tests.bench.test_report import run


def keep(folder: Path, name: str, **found: Any) -> None:
    (folder / f"{name}.json").write_text(json.dumps(found))


def row(folder: Path, measure: str) -> list[str]:
    line = next(line for line in targets.table(folder).splitlines() if measure in line)
    return [cell.strip() for cell in line.strip("|").split("|")]


@pytest.mark.parametrize(("p50", "verdict"), [(1.6, "aim reached"), (2.6, "kept"), (4.1, "**not kept**")])
def test_a_row_is_judged_by_all_its_figures(tmp_path: Path, p50: float, verdict: str) -> None:
    keep(tmp_path, "latency-1", **run(p50))
    assert row(tmp_path, "1 session")[-1] == verdict


def test_the_spread_stands_beside_the_figure(tmp_path: Path) -> None:
    overhead = {"p50": [1.5, 2.0], "p99": [4.0, 4.8]}
    keep(tmp_path, "latency-1", **{**run(1.6), "spread": {"overhead_ms": overhead}})
    assert row(tmp_path, "1 session")[4] == "1.6 (1.5 to 2) / 4.8 (4 to 4.8) ms"


def test_what_was_not_measured_is_not_judged(tmp_path: Path) -> None:
    assert row(tmp_path, "per further session")[4:] == ["not measured", ""]


def test_a_lost_frame_breaks_the_promise_whatever_the_milliseconds(tmp_path: Path) -> None:
    keep(tmp_path, "latency-100", **{**run(1.0), "frames_lost": 1})
    assert row(tmp_path, "100 sessions")[-1] == "**not kept**"


def carrying(sessions: int, **changes: Any) -> dict[str, Any]:
    return {**run(20.0), "sessions": sessions, "turns_asked": 9, "frames_lost": 0, "load": "capacity", **changes}


@pytest.mark.parametrize(
    "broken",
    [
        {"overhead_ms": {"p95": 101.0}},
        {"hearing_ms": {"p95": 101.0}},
        {"turns_asked": 20},
        {"frames_lost": 1},
        {"calls_failed": {"no_worker": 1}},
    ],
)
def test_calls_are_carried_only_if_nothing_is_late_lost_unanswered_or_failed(broken: dict[str, Any]) -> None:
    assert targets.carried(carrying(300))
    assert not targets.carried(carrying(300, **broken))


def test_the_most_calls_that_were_carried_count_and_those_with_voice_activity_apart(tmp_path: Path) -> None:
    keep(tmp_path, "capacity-300", **carrying(300))
    keep(tmp_path, "capacity-370", **carrying(370, frames_lost=5))
    keep(tmp_path, "capacity-260-vad", **carrying(260))
    assert row(tmp_path, "machine carries")[4:] == ["300", "kept"]
    assert row(tmp_path, "voice activity on every session")[4:] == ["260", "aim reached"]


def test_the_base_is_that_of_the_heaviest_worker(tmp_path: Path) -> None:
    base = {"config": 61.0, "stt": 48.3, "nats": 90.0}
    keep(tmp_path, "memory", memory_mb={"base": base, "per_session": 1.3, "per_session_of": {"stt": 1.3}})
    assert row(tmp_path, "a worker's base")[4:] == ["48.3 MB", "aim reached"]
    assert row(tmp_path, "per further session")[4:] == ["1.3 MB", "kept"]
    assert "config 61, stt 48.3, nats 90. One more session: stt 1.3." in targets.runs(tmp_path)


def test_every_run_is_told_with_what_it_lost(tmp_path: Path) -> None:
    keep(tmp_path, "capacity-300", **carrying(300, calls_failed={"no_worker": 75}, machine="a small one"))
    keep(tmp_path, "latency-1", **{**run(5.0), "runs": 5})
    told = targets.runs(tmp_path)
    lines = told.splitlines()
    assert lines[2].startswith("| latency, 1 | 5 | 9 of 10 | 5.0 / 10.0 / 15.0 |")
    assert lines[3].startswith("| capacity, 300 | 1 | 9 |")
    assert lines[3].endswith("| 0, 75 calls: no_worker |")
    assert "a small one" in told
