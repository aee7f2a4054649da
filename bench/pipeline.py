"""Overhead of the pipeline per turn: what the bus and our code add to the delays of the providers.

Method. Every stage is a process of its own and nats-server another; caller and ear are the `null` transport. 20 ms
frames come in at real-time pace all the time; the caller speaks, and the scripted recogniser's final follows 100 ms
after the end mark has come through the pipeline; the model's first token comes 50 ms after it is asked, 18 tokens 5 ms
apart; the voice's first audio 50 ms after its text, then 100 ms of audio each 50 ms; the output plays in real time. A
turn each 1.1 s.

    overhead = (first agent audio at the sink - final transcript) - 100 ms

The reply begins with a sentence of one token, so the voice starts on the first token. Times are those that the facts
carry, from one clock. The same run times a bare echo over four hops of the same server, for a ratio.
"""

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import msgspec

from bus.connect import Bus, connect
from cli import processes
from cli.up import Options, parse_workers, platform
from config_service.client import ConfigClient
from schemas import control, events, subjects
from schemas.agent import AgentDocument, ProviderChoice
from schemas.settings import BusSettings

PROVIDERS_MS = 100  # model 50 + voice 50
EVERY_MS, SPEECH_MS, ANSWER_MS = 1_100, 500, 300
HOPS = 4
REPLY = "Right. " + " ".join(f"word{number}" for number in range(17)) + "."  # 18 tokens

VOICE = {"first_ms": 50, "chunk_ms": 100, "every_ms": 50, "duration_ms": ANSWER_MS // 2}
AGENT = AgentDocument(
    id="bench",
    stt=ProviderChoice(provider="scripted", options={"texts": ["a question"], "final_ms": 100}),
    llm=ProviderChoice(provider="scripted", options={"replies": [REPLY], "first_ms": 50, "token_ms": 5}),
    tts=ProviderChoice(provider="scripted", options=VOICE),
)


async def measure(sessions: int, turns: int) -> dict[str, Any]:
    """Run the load; the report as plain data."""
    with tempfile.TemporaryDirectory() as folder:
        options = Options(Path(folder), parse_workers("1"), capacity=max(100, sessions), warm="scripted")
        async with platform(options, asyncio.Event()) as running, connect(BusSettings(url=running.nats)) as bus:
            await ConfigClient(bus).set([AGENT])
            echo = await four_hops(bus, running.nats)
            heard = await calls(bus, sessions, turns)
    overhead = [value for call in heard.values() for value in overheads(call)]
    return {
        "sessions": sessions,
        "turns": len(overhead),
        "turns_asked": sessions * turns,
        "overhead_ms": percentiles(overhead),
        "four_hop_echo_ms": percentiles(echo),
        "ratio_p50": round(percentiles(overhead)["p50"] / percentiles(echo)["p50"], 2),
    }


async def calls(bus: Bus, sessions: int, turns: int) -> dict[str, list[events.Fact]]:
    """The facts of `sessions` null calls, spread over one turn's time."""
    facts: dict[str, list[events.Fact]] = {}
    closed = 0
    done = asyncio.Event()

    def heard(_subject: str, data: bytes, _reply: str) -> None:
        nonlocal closed
        fact = events.decode(data)
        facts.setdefault(fact.session, []).append(fact)
        if isinstance(fact, events.SessionClosed):
            closed += 1
            if closed == sessions:
                done.set()

    await bus.subscribe(subjects.events(AGENT.id), heard)
    await bus.flush()
    pattern = control.Pattern(speech_ms=SPEECH_MS, every_ms=EVERY_MS, turns=turns)
    ask = msgspec.msgpack.encode(control.ClaimLine(AGENT.id, "null", pattern))
    for _ in range(sessions):
        answer = await bus.request(subjects.claim(subjects.INGRESS), ask, 5)
        line = msgspec.msgpack.decode(answer, type=control.Line)
        if line.refused:
            raise SystemExit(f"no line: {line.refused} {line.detail}")
        await asyncio.sleep(EVERY_MS / 1000 / sessions)
    async with asyncio.timeout(turns * EVERY_MS / 1000 + 30):
        await done.wait()
    return facts


def overheads(facts: list[events.Fact]) -> list[float]:
    """ms a turn: from the final transcript to the first audio, less what the providers take."""
    finals = {fact.utterance: fact.time for fact in facts if isinstance(fact, events.TranscriptFinal)}
    answers = {fact.turn: fact.answers for fact in facts if isinstance(fact, events.TurnStarted)}
    return [
        (fact.time - finals[answers[fact.turn]]) / 1000 - PROVIDERS_MS
        for fact in facts
        if isinstance(fact, events.PlaybackStarted) and answers.get(fact.turn) in finals
    ]


async def four_hops(bus: Bus, url: str, times: int = 200) -> list[float]:
    """ms for a message of 200 bytes over four hops of the same server: three relays in processes of their own."""
    relays = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-m", "bench.relay", url, f"bench.hop{hop}", f"bench.hop{hop + 1}",
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        )
        for hop in range(HOPS - 1)
    ]  # fmt: skip
    try:
        for relay in relays:
            assert relay.stdout
            await relay.stdout.readline()
        came = asyncio.Event()
        subscription = await bus.subscribe(f"bench.hop{HOPS - 1}", lambda _subject, _data, _reply: came.set())
        await bus.flush()
        took = []
        for _ in range(times):
            came.clear()
            began = time.perf_counter()
            bus.publish("bench.hop0", bytes(200))
            await asyncio.wait_for(came.wait(), 2)
            took.append((time.perf_counter() - began) * 1000)
            await asyncio.sleep(0.005)
        await subscription.unsubscribe()
        return took
    finally:
        for relay in relays:
            assert relay.stdin
            relay.stdin.close()
            await relay.wait()


def percentiles(values: list[float]) -> dict[str, float]:
    """p50, p95, p99 and max, to a hundredth."""
    if len(values) < 2:
        raise SystemExit("fewer than two turns were answered: nothing to report")
    cuts = statistics.quantiles(values, n=100, method="inclusive")
    return {
        "p50": round(cuts[49], 2),
        "p95": round(cuts[94], 2),
        "p99": round(cuts[98], 2),
        "max": round(max(values), 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.pipeline", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--sessions", type=int, default=1)
    parser.add_argument("--turns", type=int, default=200, help="a session; a turn each 1.1 s")
    parser.add_argument("--json", type=Path, help="write the figures there, too")
    asked = parser.parse_args()
    report = processes.run(measure(asked.sessions, asked.turns))
    for name in ("overhead_ms", "four_hop_echo_ms"):
        print(f"{name:>18}", "  ".join(f"{key} {value:7.2f}" for key, value in report[name].items()))
    print(
        f"{'turns answered':>18} {report['turns']} of {report['turns_asked']}, sessions {report['sessions']},", end=" "
    )
    print(f"overhead / echo at p50: {report['ratio_p50']}")
    if asked.json:
        asked.json.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
