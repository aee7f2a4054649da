"""Measure every target of the project: repeat each run, write the figures as JSON, print the table of targets.

    python -m bench.all [--json-dir bench/figures] [--only startup,latency-1,...] [--table]

Overheads are the median of five runs. The number of calls that the machine carries is found by steps. A number is
carried if every question is answered, nothing is lost, no call fails, and p95 of overhead and of lateness is within
100 ms; a number that is not carried gets a second run. A run of rooms is repeated once if the host gave the processor
to other guests; then the least disturbed runs count. All takes about 35 minutes on an idle machine. `--only peer`
measures LiveKit Agents in turn with Antiphon, 20 minutes more.
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench import mouth_to_ear, report, room_baseline, room_peer, room_targets, rooms, targets
from bench.load import CAPACITY, LATENCY
from bench.pipeline import FIGURES, Asked, measure, memory
from bench.startup import startup
from cli import processes

REPEATS = 5
TURNS_ALONE = 44  # five runs have more than 200 turns
TURNS_OF_MANY = 12
TURNS_OF_CAPACITY = 4
STEPS = (100, 150, 200, 250, 300, 370, 440, 510, 580, 650)
STEPS_WITH_VOICE_ACTIVITY = (60, 100, 140, 180, 220, 260, 300, 340)
TRIES = 2
BASELINE_S = 40.0
ROOM_RUNS = (  # rooms, seconds, whether with default turn taking, runs
    (room_targets.FEW, 60.0, False, 1),
    (room_targets.FEW, 60.0, True, 3),
    (room_targets.ROOMS, 120.0, False, 3),
)
PEER_S, PEER_RUNS = 40.0, 3  # of Antiphon and of its peer
ASKED_FOR = "peer"  # `make peer` installs its software


def _as_json(found: dict[str, Any]) -> str:
    return json.dumps(found, indent=2) + "\n"


def _kept(
    folder: Path, name: str, found: dict[str, Any], shown: Callable[[dict[str, Any]], str] = report.table
) -> None:
    print(shown(found), flush=True)
    (folder / f"{name}.json").write_text(_as_json(found))


def take_startup(folder: Path) -> None:
    _kept(folder, "startup", report.median([startup() for _ in range(REPEATS)]))


def take_latency(sessions: int, turns: int) -> Callable[[Path], None]:
    def take(folder: Path) -> None:
        asked = Asked(sessions, turns, LATENCY, False, False)
        _kept(folder, asked.name, report.median([processes.run(measure(asked)) for _ in range(REPEATS)]))

    return take


def take_capacity(steps: tuple[int, ...], first: int, voice_activity: bool) -> Callable[[Path], None]:
    """Step up from `first` while the calls are carried, or down until they are."""

    def take(folder: Path) -> None:
        for old in targets.capacities(folder, voice_activity):
            old.unlink()
        at = steps.index(first)
        if _carried(folder, first, voice_activity):
            for sessions in steps[at + 1 :]:
                if not _carried(folder, sessions, voice_activity):
                    return
        else:
            for sessions in reversed(steps[:at]):
                if _carried(folder, sessions, voice_activity):
                    return

    return take


def _carried(folder: Path, sessions: int, voice_activity: bool) -> bool:
    asked = Asked(sessions, TURNS_OF_CAPACITY, CAPACITY, voice_activity, False)
    for _ in range(TRIES):
        try:
            found = processes.run(measure(asked))
        except (
            SystemExit,
            TimeoutError,
            BaseExceptionGroup,
        ) as error:  # a refused call, or calls without an end: too many
            print(f"{asked.name}: {error}", flush=True)
            continue
        _kept(folder, asked.name, found)
        if targets.carried(found):
            return True
    return False


def take_rooms(folder: Path) -> None:
    for number, seconds, turn_taking, times in ROOM_RUNS:
        runs: list[dict[str, Any]] = []
        while len(runs) < TRIES * times and len(room_targets.quiet(runs)) < times:
            baseline = processes.run(room_baseline.measured(number, BASELINE_S))
            found = processes.run(rooms.measured(number, seconds, turn_taking))
            runs.append(found | room_targets.beside(found, baseline))
            print(room_targets.line(runs[-1]), flush=True)
        runs = sorted(runs, key=room_targets.stolen)[:times]
        found = report.median(runs) | {"underruns": max(run["underruns"] for run in runs)}
        _kept(folder, room_targets.name(number, turn_taking), found, _as_json)


def take_peer(folder: Path) -> None:
    room_peer.check_installed()
    for number, turn_taking in room_targets.PEER_CALLS:
        runs: list[dict[str, Any]] = []
        for _ in range(PEER_RUNS):
            runs.append(processes.run(room_peer.beside(number, PEER_S, turn_taking)))
            print(room_targets.line_of_both(runs[-1]), flush=True)
        _kept(folder, room_targets.peer(number, turn_taking), report.median(runs), _as_json)


def take_mouth_to_ear(folder: Path) -> None:
    _kept(folder, "mouth-to-ear", processes.run(mouth_to_ear.measured(mouth_to_ear.TURNS)), _as_json)


def take_memory(folder: Path) -> None:
    _kept(folder, "memory", processes.run(memory(CAPACITY)))


TAKERS: dict[str, Callable[[Path], None]] = {
    "startup": take_startup,
    "latency-1": take_latency(1, TURNS_ALONE),
    "latency-100": take_latency(100, TURNS_OF_MANY),
    "memory": take_memory,
    "capacity": take_capacity(STEPS, 300, voice_activity=False),
    "rooms": take_rooms,
    "mouth-to-ear": take_mouth_to_ear,
    "capacity-vad": take_capacity(STEPS_WITH_VOICE_ACTIVITY, 180, voice_activity=True),
    ASKED_FOR: take_peer,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.all", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--json-dir", type=Path, default=FIGURES, help="where the figures are kept")
    everything = ",".join(name for name in TAKERS if name != ASKED_FOR)
    parser.add_argument("--only", default=everything, help=f"some of them, separated by commas, or {ASKED_FOR}")
    parser.add_argument("--table", action="store_true", help="take nothing: the table of what is kept")
    asked = parser.parse_args()
    asked.json_dir.mkdir(parents=True, exist_ok=True)
    for name in [] if asked.table else asked.only.split(","):
        began = time.monotonic()
        print(f"\n--- {name}", flush=True)
        TAKERS[name](asked.json_dir)
        print(f"--- {name}: {time.monotonic() - began:.0f} s", flush=True)
    print()
    print(targets.table(asked.json_dir))
    print(targets.table(asked.json_dir, room_targets.TARGETS))


if __name__ == "__main__":
    main()
