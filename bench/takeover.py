"""Kill or freeze the owner of each stage at random moments of live calls: what a takeover costs the caller.

The calls are those of antiphon_testing/numbered_calls.py, on processes of their own. Scripted providers answer in real
time, so the figures are those of Antiphon alone.
"""

import argparse
import asyncio
import json
import os
import random
import signal
import tempfile
import time
from collections import defaultdict
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from antiphon_testing.numbered_calls import AGENT, ANSWER, NumberedCall, numbered_call
from antiphon_testing.processes import Platform, antiphon_up
from bench.measure import machine, percentiles
from schemas import subjects
from schemas.audio import AGENT_HZ
from stages.tts import token_codec

Fault = Literal["kill", "stop"]

EVERY_S = 1.5  # between two faults; each stage has its turn, and `up` needs the time to start a worker again
FROZEN_S = 1.4
LAST_WORD = ANSWER[-1].rpartition(" ")[2]  # a stretch that begins within a sentence has its end
HOLE_MS = 40  # a shorter silence is the seam of two frames
TAKEN_OVER_WITHIN_S = 20.0


async def takeovers(fault: Fault, moments: int, calls: int, seed: int) -> dict[str, Any]:
    """Return the report as plain data: problems, and the times of each stage in ms."""
    times: dict[str, list[float]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as folder:
        async with (
            antiphon_up(Path(folder), "--workers", "stt=3,llm=3,tts=3,egress=3") as platform,
            AsyncExitStack() as stack,
        ):
            await platform.set(AGENT)
            lines = [
                await stack.enter_async_context(numbered_call(platform.bus, platform.websocket, seed + number))
                for number in range(calls)
            ]
            await _talk_through(platform, lines, fault, moments, random.Random(seed), times)
            ended = sum(line.over for line in lines)
            problems = [problem for line in lines for problem in line.problems()]
            holes = [hole for line in lines for hole in holes_ms(line.agent_audio)]
            repeated = sum(line.repeated for line in lines)
            answers = sum(line.said for line in lines)
    return {
        "machine": machine(),
        "fault": fault,
        "faults": sum(map(len, times.values())),
        "answers": answers,
        "calls_ended": ended,
        "problems": problems,
        "sentences_begun_anew": repeated,
        "new_owner_ms": {stage: percentiles(found) for stage, found in times.items()},
        "holes": len(holes),
        "hole_ms": percentiles(holes) if holes else {},
    }


async def _talk_through(
    platform: Platform,
    lines: list[NumberedCall],
    fault: Fault,
    moments: int,
    chance: random.Random,
    times: dict[str, list[float]],
) -> None:
    done = asyncio.Event()

    async def converse(line: NumberedCall) -> None:
        await line.converse(1)
        while not done.is_set() and not line.over:
            await line.ask()

    async with asyncio.TaskGroup() as tasks:
        for line in lines:
            tasks.create_task(converse(line))
        await asyncio.sleep(1)
        for number in range(moments * len(subjects.CLAIMED)):
            stage = subjects.CLAIMED[number % len(subjects.CLAIMED)]
            await asyncio.sleep(chance.uniform(0.1, EVERY_S))
            times[stage].append(await _break(platform, chance.choice(lines), stage, fault))
        done.set()


async def _break(platform: Platform, line: NumberedCall, stage: str, fault: Fault) -> float:
    """Break the owner of a stage of a call; return the ms until its successor is published."""
    owner = line.state.owners[stage]
    pids = {status.id: status.pid for status in await platform.workers(stage)}
    if owner.worker not in pids:
        return await _break(platform, line, stage, fault)
    broken_s = time.monotonic()
    os.kill(pids[owner.worker], signal.SIGKILL if fault == "kill" else signal.SIGSTOP)
    try:
        async with asyncio.timeout(TAKEN_OVER_WITHIN_S):
            while line.state.owners[stage].epoch == owner.epoch and not line.over:
                await asyncio.sleep(0.005)
        took_ms = (time.monotonic() - broken_s) * 1000
        if fault == "stop":
            await asyncio.sleep(max(0.0, FROZEN_S - took_ms / 1000))
    finally:
        if fault == "stop":
            os.kill(pids[owner.worker], signal.SIGCONT)
    return took_ms


def holes_ms(line: npt.NDArray[np.int16]) -> list[float]:
    """Return the silences within the agent's turns. line: what the caller heard, 24 kHz."""
    sounding = np.flatnonzero(np.abs(line.astype(np.int32)) > 300)
    found: list[float] = []
    begin = 0
    for last in np.flatnonzero(np.diff(sounding) > HOLE_MS * AGENT_HZ // 1000).tolist():
        stretch = line[sounding[begin] : sounding[last] + 1].tobytes()
        if not (texts := token_codec.texts(stretch)) or not texts[-1].endswith(LAST_WORD):
            found.append(float(sounding[last + 1] - sounding[last]) * 1000 / AGENT_HZ)
        begin = last + 1
    return found


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.takeover", description=__doc__)
    parser.add_argument("--fault", choices=["kill", "stop"], default="kill", help="SIGKILL, or SIGSTOP then SIGCONT")
    parser.add_argument("--moments", type=int, default=50, help="faults of each stage")
    parser.add_argument("--calls", type=int, default=4)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path, help="write the figures there, too")
    asked = parser.parse_args()
    found = asyncio.run(takeovers(asked.fault, asked.moments, asked.calls, asked.seed))
    print(json.dumps(found, indent=2))
    if asked.json:
        asked.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
