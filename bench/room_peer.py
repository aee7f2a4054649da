"""Measure LiveKit Agents with the callers and the script of `bench.rooms`, in the same minutes as Antiphon.

It runs a process for each call, its default. `make peer` installs it into its own environment. With --beside a run of
Antiphon comes first, and its figures are divided by those of LiveKit Agents.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from bench import load, room_alone, room_targets, rooms
from cli import processes
from stages.stt.loudness import LOUD

PYTHON = Path(".tools/livekit-agents/bin/python")
SCRIPT = Path(__file__).with_name("livekit_agents.py")


def check_installed() -> None:
    """Raise SystemExit with the remedy if LiveKit Agents is not installed."""
    if not PYTHON.exists():
        raise SystemExit("cannot measure LiveKit Agents: it is not installed. Run make peer.")


async def measured(number: int, window_s: float, turn_taking: bool) -> dict[str, Any]:
    """Make one run with `number` rooms. turn_taking: its default; else each final ends the turn at once."""
    calls = load.SENTENCES_IN_ROOMS if turn_taking else load.CAPACITY
    found = await room_alone.measured(
        [str(PYTHON), str(SCRIPT)], number, window_s, calls,
        turn_taking=turn_taking, loud=LOUD, reply=load.REPLY, answer_ms=calls.answer_ms, final_ms=load.FINAL_MS,
        first_token_ms=load.FIRST_TOKEN_MS, token_ms=load.TOKEN_MS, first_audio_ms=load.FIRST_AUDIO_MS,
        chunk_ms=load.CHUNK_MS, chunk_every_ms=load.CHUNK_EVERY_MS,
    )  # fmt: skip
    return found | {"turn_taking": turn_taking}


async def beside(number: int, window_s: float, turn_taking: bool) -> dict[str, Any]:
    """Make a run of Antiphon, then one of LiveKit Agents. by_theirs: the first divided by the second."""
    ours = await rooms.measured(number, window_s, turn_taking)
    theirs = await measured(number, window_s, turn_taking)
    both = ("rooms", "window_s", "turn_taking", "machine")
    kept = ("core_per_room", "latency_ms", "join_ms", "turns", "answers", "pss_mb", "stolen_cores")
    return {
        **{name: ours[name] for name in both},
        "ours": {name: ours[name] for name in kept},
        "theirs": {name: theirs[name] for name in kept},
        "by_theirs": room_targets.parts(ours, theirs),
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.room_peer", description=__doc__)
    parser.add_argument("--rooms", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=40.0)
    parser.add_argument("--turn-taking", action="store_true", help="its own voice activity, turn detector and pauses")
    parser.add_argument("--beside", action="store_true", help="the product first")
    told = parser.parse_args()
    check_installed()
    take = beside if told.beside else measured
    print(json.dumps(processes.run(take(told.rooms, told.seconds, told.turn_taking)), indent=1))


if __name__ == "__main__":
    main()
