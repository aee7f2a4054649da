"""Measure calls in real rooms: their cost, and how long callers wait for the agent and for an answer.

N rooms with one caller each, made with LiveKit's SDK in a process of their own that is not counted. A caller sends
frames of 20 ms all the time: 1.5 s of vowels, then silence, a turn each 4 s, or with --turn-taking each 5.5 s: then the
voice activity detection runs, and the default pause ends a turn. Providers are scripted: the final
100 ms after the end of speech, the model's first token and the voice's first sound 50 ms each; answers last 2 s. The
window begins when all agents are in their rooms. Latency is taken by the caller, from handing its first silent frame to
the SDK to the first sound of the agent that the SDK hands back; what its own queue holds is inside. `job` is the time
from an accepted job to the caller's hearing of the agent's track, `join` that from connecting to having it.
"""

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from antiphon_testing.environment import inherited
from bench import measure
from bench.load import AGENT, CAPACITY, SENTENCES_IN_ROOMS, Load, agent
from cli import processes
from schemas import events, subjects

BEGINS_WITHIN_S = ENDS_WITHIN_S = 60.0
IN_ROOMS = ("ingress", "egress")  # stages whose processor time is split into event loop and native threads


@asynccontextmanager
async def callers(asked: dict[str, Any], load: Load) -> AsyncIterator[Callable[[], Awaitable[dict[str, Any]]]]:
    """Run `asked["rooms"]` callers; yields at the beginning of the window a function that waits for their figures."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench.room_callers", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdin
    assert process.stdout
    out = process.stdout
    process.stdin.write(json.dumps(asked | {"speech_ms": load.speech_ms, "every_ms": load.every_ms}).encode() + b"\n")
    assert (await asyncio.wait_for(out.readline(), BEGINS_WITHIN_S + asked["rooms"])).strip() == b"begin"

    async def found() -> dict[str, Any]:
        told: dict[str, Any] = json.loads(await asyncio.wait_for(out.readline(), ENDS_WITHIN_S))
        return told

    try:
        yield found
        await process.wait()
    finally:  # also after the platform has ended
        if process.returncode is None:
            process.kill()
            await process.wait()


async def measured(rooms: int, window_s: float, turn_taking: bool) -> dict[str, Any]:
    """Make one run. turn_taking: with VAD and the default pause; else each final ends the turn at once."""
    from bus.connect import connect
    from bus.settings import BusSettings
    from bus.workers import list_workers
    from composition.platform import PlatformSettings, open_platform
    from composition.room_server import RoomServer
    from config_service.client import ConfigClient

    load = SENTENCES_IN_ROOMS if turn_taking else CAPACITY
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder)
        vad = "silero" if turn_taking else "script"
        settings = PlatformSettings(
            data, inherited(), warm="scripted", vad=vad, livekit=True, default_agent=AGENT, capacity=max(20, 2 * rooms)
        )
        async with open_platform(settings, asyncio.Event()) as running, connect(BusSettings(url=running.nats)) as bus:
            await ConfigClient(bus).set([agent(load, turn_taking=turn_taking)])
            pids: dict[str, list[int]] = {}
            for child in running.children:
                assert child.process
                pid = child.process.pid
                served = measure.below(pid, "livekit-server") if child.stage == "livekit" else pid
                pids.setdefault(child.stage, []).append(served)
            pids["nats"] = [measure.below(os.getpid(), "nats-server")]
            ours = {name: found for name, found in pids.items() if name not in ("livekit", "gateway")}
            idle_mb = sum(measure.pss_mb(pid) for found in ours.values() for pid in found)
            said: list[bytes] = []
            await bus.subscribe(subjects.events(AGENT), lambda message: said.append(message.data))
            asked = {"url": running.livekit, **RoomServer.keys(data), "rooms": rooms, "window_s": window_s}
            async with callers(asked, load) as found_by_callers:
                before = {name: sum(map(measure.cpu_s, found)) for name, found in pids.items()}
                loops = {name: sum(map(measure.loop_s, pids[name])) for name in IN_ROOMS}
                theft, began = measure.Theft(), time.monotonic()
                await asyncio.sleep(window_s)
                took_s, stolen_cores = time.monotonic() - began, round(theft.cores, 3)
                spent = {name: sum(map(measure.cpu_s, found)) - before[name] for name, found in pids.items()}
                looped = {name: sum(map(measure.loop_s, pids[name])) - loops[name] for name in IN_ROOMS}
                full_mb = sum(measure.pss_mb(pid) for found in ours.values() for pid in found)
                counters = measure.lost(worker.counters for worker in await list_workers(bus))
                underruns = sum(worker.counters.get("underruns", 0) for worker in await list_workers(bus))
                told = await found_by_callers()
    call_events = [events.decode(data) for data in said]
    opened = [event for event in call_events if isinstance(event, events.SessionOpened)]
    jobs_ms = [(told["published"][event.origin.room] - event.started_us) / 1000 for event in opened if event.origin]
    per_room = {name: round(cost / took_s / rooms, 4) for name, cost in spent.items()}
    return {
        "rooms": rooms,
        "window_s": round(took_s),
        "turn_taking": turn_taking,
        "core_per_room": round(sum(per_room[name] for name in ours), 4),
        "core_per_room_of": per_room,
        "of_it_loop": {name: round(cost / took_s / rooms, 4) for name, cost in looped.items()},
        "turns": told["turns"],
        "answers": len(told["latency_ms"]),
        "latency_ms": measure.percentiles(told["latency_ms"]),
        "of_it_overhead_ms": measure.percentiles(measure.Turns(call_events).overheads_ms()),
        "join_ms": measure.percentiles(told["join_ms"]),
        "job_ms": measure.percentiles(jobs_ms),
        "pss_mb": round(full_mb, 1),
        "pss_mb_per_room": round((full_mb - idle_mb) / rooms, 1),
        "lost": counters,
        "underruns": underruns,
        "stolen_cores": stolen_cores,
        "machine": measure.machine(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.rooms", description=__doc__)
    parser.add_argument("--rooms", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=40.0)
    parser.add_argument("--turn-taking", action="store_true", help="voice activity, and the default pause")
    told = parser.parse_args()
    print(json.dumps(processes.run(measured(told.rooms, told.seconds, told.turn_taking)), indent=1))


if __name__ == "__main__":
    main()
