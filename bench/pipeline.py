"""Measure what the pipeline adds to its providers: overhead per turn, processor, memory, losses.

Method. Every stage and nats-server is a process; the caller is that of the `null` transport. 20 ms frames come in at
real-time pace all the time; the caller speaks, and the scripted recognizer's final transcript follows 100 ms
after the end mark has come through the pipeline; the model's first token comes 50 ms after it is asked, 18 tokens 5 ms
apart; the voice's first audio 50 ms after its text, then 100 ms of audio each 50 ms; the output plays in real time.

    overhead = (first agent audio at egress - final transcript) - 100 ms

The reply begins with a sentence of one token, so the voice starts on the first token. Times are those that the events
carry, from one clock. The same run times a bare echo over four hops of the same server, for a ratio. Processor time is
what the kernel charged each process while all calls talked; the callers of the `null` transport are made in ingress and
counted there. More in docs/performance.md.
"""

import argparse
import asyncio
import json
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, NamedTuple

from bench import report
from bench.echo import four_hops
from bench.load import LOADS, Calls, Load, agent
from bench.measure import Turns, failed, machine, others_s, percentiles
from bench.platform import Platform, open_platform
from bench.simulated_callers import callers
from cli import processes

__all__ = ["percentiles"]

FEW, MANY = 20, 100  # sessions between which the slope of memory is taken
BUFFERS_FULL_S = 40.0  # replay buffers hold 30 s
FIGURES = Path(__file__).parent / "figures"


class Asked(NamedTuple):
    """The options of a run. turns: of each session while all of them talk."""

    sessions: int
    turns: int
    load: Load
    voice_activity: bool
    websocket: bool

    @property
    def name(self) -> str:
        """Return the name of the file for the figures."""
        return f"{self.load.name}-{self.sessions}" + "-vad" * self.voice_activity + "-websocket" * self.websocket


async def measure(asked: Asked) -> dict[str, Any]:
    """Run the load; return the report as plain data."""
    async with AsyncExitStack() as stack:
        vad = "silero" if asked.voice_activity else "script"
        running = await stack.enter_async_context(open_platform(agent(asked.load), asked.sessions, vad))
        outside = await stack.enter_async_context(callers()) if asked.websocket else None
        base = running.memory_mb()
        echo = await four_hops(running.bus, running.url)
        calls = Calls(running.bus, asked.load, outside)
        await calls.listen()
        talk_s = asked.turns * asked.load.every_ms / 1000
        await calls.begin(asked.sessions, talk_s)
        since, used, all_used = time.time_ns() // 1_000, running.cpu_s(), others_s()
        await asyncio.sleep(talk_s)
        until, used_then, all_then = time.time_ns() // 1_000, running.cpu_s(), others_s()
        lost = await running.lost()
        await calls.ended()
    events = calls.events()
    turns = Turns(events, since, until)
    overhead, hops = percentiles(turns.overheads_ms()), percentiles(echo)
    session_s = (until - since) / 1e6 * asked.sessions
    cpu = {process: round((used_then[process] - used[process]) / session_s, 6) for process in used}
    cores = sum(cpu.values()) * asked.sessions
    found: dict[str, Any] = {
        "machine": machine(),
        "load": asked.load.name,
        "transport": "websocket" if asked.websocket else "null",
        "sessions": asked.sessions,
        "voice_activity": asked.voice_activity,
        "turns": len(turns.overheads_ms()),
        "turns_asked": turns.asked,
        "overhead_ms": overhead,
        "steps_ms": {step: percentiles(values) for step, values in turns.steps_ms().items()},
        "hearing_ms": percentiles(turns.hearing_ms()),
        "four_hop_echo_ms": hops,
        "ratio_p50": round(overhead["p50"] / hops["p50"], 2),
        "cpu_s_per_session_s": {**cpu, "total": round(sum(cpu.values()), 6)},
        "cores": round(cores, 3),
        "other_cores": round((all_then - all_used) / (until - since) * 1e6 - cores, 3),
        "memory_mb": {"base": {process: round(megabytes, 1) for process, megabytes in base.items()}},
        "frames_lost": sum(lost.values()),
        "lost": lost,
        "calls_failed": failed(events),
    }
    if outside:
        found["door_ms"] = percentiles(turns.door_ms(outside.arrivals))
    return found


async def memory(load: Load) -> dict[str, Any]:
    """Return the memory of one more session over all processes, when all replay buffers are full."""
    async with open_platform(agent(load), MANY) as running:
        base = running.memory_mb()
        calls = Calls(running.bus, load)
        full_of_few = await _full(running, calls, FEW, 2 * BUFFERS_FULL_S + 10)
        full_of_many = await _full(running, calls, MANY - FEW, BUFFERS_FULL_S)
    further = {name: (full_of_many[name] - full_of_few[name]) / (MANY - FEW) for name in base}
    return {
        "machine": machine(),
        "memory_mb": {
            "base": {name: round(megabytes, 1) for name, megabytes in base.items()},
            "per_session": round(sum(further.values()), 3),
            "per_session_of": {name: round(megabytes, 3) for name, megabytes in further.items()},
        },
    }


async def _full(running: Platform, calls: Calls, further: int, talk_s: float) -> dict[str, float]:
    await calls.begin(further, talk_s)
    await asyncio.sleep(BUFFERS_FULL_S)
    return running.memory_mb()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.pipeline", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--sessions", type=int, default=1)
    parser.add_argument("--turns", type=int, default=60, help="a session")
    parser.add_argument("--load", choices=LOADS, default="latency", help="a turn each 1.1 s, or each 4 s")
    parser.add_argument("--transport", choices=["null", "websocket"], default="null")
    parser.add_argument("--vad", action="store_true", help="the shared detector of voice activity finds the words")
    parser.add_argument("--memory", action="store_true", help=f"instead: memory from {FEW} to {MANY} sessions")
    parser.add_argument("--repeat", type=int, default=1, help="runs; figures are their medians, with the spread")
    parser.add_argument("--json", type=Path, help="write the figures there, too")
    parser.add_argument("--compare", action="store_true", help="with the last committed figures")
    told = parser.parse_args()
    asked = Asked(told.sessions, told.turns, LOADS[told.load], told.vad, told.transport == "websocket")
    runs = [processes.run(memory(asked.load) if told.memory else measure(asked)) for _ in range(told.repeat)]
    found = report.median(runs)
    print(report.table(found))
    if told.compare:
        kept = FIGURES / ("memory.json" if told.memory else f"{asked.name}.json")
        if not kept.exists():
            raise SystemExit(f"cannot compare: there are no committed figures of such a run at {kept}")
        print(report.compared(found, json.loads(kept.read_text())))
    if told.json:
        told.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
