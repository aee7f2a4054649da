"""Show where the processor time of a frame and of a turn goes: by stage, and by function with py-spy.

    python -m bench.profile --sessions 100 [--load latency|capacity] [--stages stt,egress]

First the callers are silent: that is the cost of frames. Then they talk: the difference is the cost of turns. Both are
measured without a profiler; then py-spy records every stage. Its recordings are in build/profile/, for speedscope.
py-spy does not see kernel and uvloop, a quarter by perf: their time is spread over the functions that ran.
"""

import argparse
import asyncio
import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from bench.load import LOADS, Calls, Load, agent, starts
from bench.platform import Platform, open_platform
from cli import processes
from schemas.audio import FRAME_MS
from schemas.subjects import STAGES

SETTLE_S = 2.0  # after the last call began
WINDOW_S = 10.0
RECORD_S = 10
SLACK_S = 5.0  # for py-spy to start and to write
SAMPLES_A_SECOND = 300
SHOWN = 20
WAITING = {
    ("_worker", "futures/thread.py"),
    ("Runner.run", "asyncio/runners.py"),
}  # idle functions that look busy to py-spy
FOLDER = Path("build/profile")


async def profile(sessions: int, load: Load, stages: list[str]) -> None:
    """Measure, record and print."""
    stretch_s = SETTLE_S + WINDOW_S + RECORD_S + SLACK_S
    last_s = starts(load, sessions)[-1]
    silent_s = last_s + stretch_s
    async with open_platform(agent(load), sessions) as running:
        calls = Calls(running.bus, load)
        begun = asyncio.get_running_loop().time()
        await calls.begin(sessions, talk_s=stretch_s, silent_s=silent_s)
        silent = await _stretch(running, sessions, "frames", stages)
        everybody_talks = begun + last_s + silent_s
        await asyncio.sleep(max(0.0, everybody_talks - asyncio.get_running_loop().time()))
        talking = await _stretch(running, sessions, "turns", stages)
    _tell_prices(silent, talking, load)


async def _stretch(running: Platform, sessions: int, name: str, stages: list[str]) -> dict[str, float]:
    """Return processor seconds per session-second of each process, and a recording of each stage."""
    await asyncio.sleep(SETTLE_S)
    before = running.cpu_s()
    await asyncio.sleep(WINDOW_S)
    after = running.cpu_s()
    used = {process: (after[process] - before[process]) / WINDOW_S / sessions for process in after}
    await asyncio.gather(*(record(running.pids[stage][0], FOLDER / f"{name}-{stage}.json") for stage in stages))
    for stage in stages:
        _tell_functions(f"{name}, {stage}", FOLDER / f"{name}-{stage}.json", used[stage])
    return used


async def record(pid: int, file: Path) -> None:
    """Record a process for RECORD_S."""
    spy = await asyncio.create_subprocess_exec(
        str(Path(sys.executable).with_name("py-spy")), "record", "--pid", str(pid), "--format", "speedscope",
        "--rate", str(SAMPLES_A_SECOND), "--duration", str(RECORD_S), "--output", str(file),
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    _, said = await spy.communicate()
    if spy.returncode:
        raise SystemExit(f"py-spy: {said.decode().strip()}")


def shares(recording: dict[str, Any]) -> dict[str, tuple[float, float]]:
    """Return function -> share of samples in the function itself, and in it or its callees."""
    frames = [(frame["name"], _short(frame.get("file") or "?")) for frame in recording["shared"]["frames"]]
    itself: Counter[tuple[str, str]] = Counter()
    within: Counter[tuple[str, str]] = Counter()
    for thread in recording["profiles"]:
        for stack in thread["samples"]:
            if stack and frames[stack[-1]] not in WAITING:
                itself[frames[stack[-1]]] += 1
                within.update({frames[frame] for frame in stack})
    total = max(1, itself.total())
    return {f"{name} ({file})": (itself[name, file] / total, within[name, file] / total) for name, file in within}


def _short(file: str) -> str:
    return "/".join(Path(file).parts[-2:])


def _tell_functions(title: str, file: Path, used: float) -> None:
    found = shares(json.loads(file.read_text()))
    print(f"\n{title}: {used * 1e6:.0f} us a session-second ({file})")
    print(f"{'itself us':>10} {'within us':>10}  function")
    for name, (itself, within) in sorted(found.items(), key=lambda pair: -pair[1][0])[:SHOWN]:
        print(f"{itself * used * 1e6:10.0f} {within * used * 1e6:10.0f}  {name}")


def _tell_prices(silent: dict[str, float], talking: dict[str, float], load: Load) -> None:
    print(f"\n{'':>10} {'us a frame':>12} {'ms a turn':>12} {'us a session-second':>20}")
    for process in [*talking, "total"]:
        frame = sum(silent.values()) if process == "total" else silent[process]
        all_of_it = sum(talking.values()) if process == "total" else talking[process]
        turn = (all_of_it - frame) * load.every_ms
        print(f"{process:>10} {frame * 1e3 * FRAME_MS:12.1f} {turn:12.2f} {all_of_it * 1e6:20.0f}")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.profile", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--sessions", type=int, default=100)
    parser.add_argument("--load", choices=LOADS, default="latency")
    parser.add_argument("--stages", default=",".join(STAGES))
    asked = parser.parse_args()
    FOLDER.mkdir(parents=True, exist_ok=True)
    processes.run(profile(asked.sessions, LOADS[asked.load], asked.stages.split(",")))


if __name__ == "__main__":
    main()
