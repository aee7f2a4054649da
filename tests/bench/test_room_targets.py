"""What rooms cost, held beside what LiveKit's SDK alone took in the same minutes."""

import json
from pathlib import Path
from typing import Any

from bench import room_targets, targets


def run(core: float, p50: float, p95: float, *, turn_taking: bool = False, stolen: float = 0.0) -> dict[str, Any]:
    latency_ms = {"p50": p50, "p95": p95}
    return {"turn_taking": turn_taking, "core_per_room": core, "latency_ms": latency_ms, "stolen_cores": stolen}


BASELINE = run(0.05, 370, 390)


def test_a_run_stands_beside_the_sdk_alone() -> None:
    apart = room_targets.beside(run(0.08, 400, 428), BASELINE)
    assert apart["beside_baseline"] == {"core_x": 1.6, "latency_ms": {"p50": 30, "p95": 38}}
    assert apart["baseline"] == {"core_per_room": 0.05, "latency_ms": BASELINE["latency_ms"], "stolen_cores": 0.0}


def test_a_run_that_the_host_disturbed_is_not_quiet_nor_one_beside_a_disturbed_sdk() -> None:
    calm = run(0.08, 400, 428, stolen=0.05) | {"baseline": run(0.05, 370, 390, stolen=0.01)}
    robbed = run(0.08, 480, 600, stolen=0.06) | {"baseline": BASELINE}
    beside_robbed = run(0.08, 400, 428) | {"baseline": run(0.05, 4_000, 5_000, stolen=0.3)}
    assert room_targets.quiet([robbed, calm, beside_robbed]) == [calm]
    assert [room_targets.stolen(one) for one in (calm, robbed, beside_robbed)] == [0.05, 0.06, 0.3]


def test_a_pause_is_not_held_against_an_sdk_that_waits_for_none() -> None:
    assert room_targets.beside(run(0.08, 540, 640, turn_taking=True), BASELINE)["beside_baseline"] == {"core_x": 1.6}


def test_the_table_judges_it(tmp_path: Path) -> None:
    found = run(0.09, 400, 428) | {"lost": {}, "underruns": 0}
    (tmp_path / "rooms-8.json").write_text(json.dumps(found | room_targets.beside(found, BASELINE)))
    rows = targets.table(tmp_path, room_targets.TARGETS).splitlines()
    assert next(row for row in rows if "core a room beside" in row).endswith("| 1.8 times | **not kept** |")
    assert next(row for row in rows if "beyond the SDK" in row).endswith("| 30 / 38 ms | kept |")


def test_others_are_what_it_is_divided_by(tmp_path: Path) -> None:
    ours = run(0.08, 400, 430) | {"join_ms": {"p50": 450, "max": 650}}
    theirs = run(0.16, 500, 860) | {"join_ms": {"p50": 500, "max": 500}}
    found = room_targets.parts(ours, theirs)
    assert found == {"core": 0.5, "latency_p50": 0.8, "latency_p95": 0.5, "join_p50": 0.9, "join_max": 1.3}
    (tmp_path / "peer-8.json").write_text(json.dumps({"by_theirs": found}))
    rows = targets.table(tmp_path, room_targets.BESIDE_PEER).splitlines()
    told = [row.rsplit(" | ", 2)[1:] for row in rows if "not measured" not in row][2:]
    assert told == [["0.5", "aim reached |"], ["0.8 / 0.5", "aim reached |"], ["0.9 / 1.3", "**not kept** |"]]


def test_what_both_took_is_a_table(tmp_path: Path) -> None:
    took = run(0.0871, 400, 430, turn_taking=True) | {"join_ms": {"p50": 450, "max": 650}}
    (tmp_path / "peer-4-turn-taking.json").write_text(json.dumps({"ours": took, "theirs": took}))
    assert room_targets.both(tmp_path).splitlines()[2:] == [
        "| 4, default turn taking | Antiphon | 0.087 | 400 / 430 | 450 / 650 |",
        "| 4, default turn taking | LiveKit Agents | 0.087 | 400 / 430 | 450 / 650 |",
    ]
