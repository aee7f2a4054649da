"""Measure how many rooms one process holds: LiveKit's SDK as ingress and egress use it, alone.

The SDK gives every event to each room of a process in turn, so the cost of rooms could grow with their square. One
process speaks into N rooms as egress does (half of the time, in pieces of 60 ms), one hears N rooms as ingress does
(16 kHz, 20 ms); each tells what a room takes of a core, and what of it the event loop's own thread. It says a hum, as
the scripted voice of `bench.rooms` does, or what a human reads, which is dearer to Opus.
"""

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Iterator
from itertools import cycle
from typing import Any

import numpy as np
import soxr
from livekit import rtc

from antiphon_testing.room_caller import token
from antiphon_testing.speech import recording
from bench import measure, room_alone
from cli import processes
from schemas.audio import AGENT_HZ, CALLER_HZ, FRAME_MS, SAMPLE_BYTES
from stages.tts import token_codec

ROOMS = (4, 8, 16, 24)
WINDOW_S = 8.0
SETTLE_S = 3.0
PIECE_MS, REFILL_S, TALK_S = 60, 0.04, 2.0
VOICES = ("hum", "reader")


# --- the two processes ------------------------------------------------------------------------------------------------


def pieces(voice: str) -> Iterator[bytes]:
    """Yield audio without end: PCM16 mono at 24 kHz."""
    if voice == "hum":
        said = token_codec.hum(PIECE_MS)
    else:
        said = bytes(soxr.resample(np.frombuffer(recording("beckett"), "<i2"), CALLER_HZ, AGENT_HZ))
    size = AGENT_HZ * PIECE_MS // 1000 * SAMPLE_BYTES
    return cycle([said[start : start + size] for start in range(0, len(said) - size + 1, size)])


async def talk(source: Any, voice: str, after_s: float) -> None:
    saying = pieces(voice)
    await asyncio.sleep(after_s)
    while True:
        until = time.monotonic() + TALK_S
        while time.monotonic() < until:
            await asyncio.sleep(max(0.0, source.queued_duration - REFILL_S))
            pcm = next(saying)
            await source.capture_frame(rtc.AudioFrame(pcm, AGENT_HZ, 1, len(pcm) // SAMPLE_BYTES))
        await asyncio.sleep(TALK_S)


async def speak(asked: dict[str, Any]) -> list[Any]:
    """Speak in every room, as egress does."""
    kept: list[Any] = []
    for number in range(asked["rooms"]):
        room, source = rtc.Room(), rtc.AudioSource(AGENT_HZ, 1)
        options = rtc.RoomOptions(auto_subscribe=False, single_peer_connection=False)
        await room.connect(asked["url"], token(f"room-{number}", "agent", asked["key"], asked["secret"]), options)
        track = rtc.LocalAudioTrack.create_audio_track("agent", source)
        await room.local_participant.publish_track(
            track, rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_MICROPHONE)
        )
        kept += [room, asyncio.create_task(talk(source, asked["voice"], number / 10))]
    return kept


async def hear(asked: dict[str, Any]) -> list[Any]:
    """Listen in every room, as ingress does."""
    kept: list[Any] = []

    async def listen(track: Any) -> None:
        async for _event in rtc.AudioStream(track, sample_rate=CALLER_HZ, num_channels=1, frame_size_ms=FRAME_MS):
            pass

    for number in range(asked["rooms"]):
        room = rtc.Room()
        room.on("track_subscribed", lambda track, *_: kept.append(asyncio.create_task(listen(track))))
        options = rtc.RoomOptions(single_peer_connection=False)
        await room.connect(
            asked["url"], token(f"room-{number}", "ear", asked["key"], asked["secret"], hidden=True), options
        )
        kept.append(room)
    return kept


async def work(asked: dict[str, Any]) -> None:
    """Stay in every room until standard input closes."""
    await room_alone.live(await {"speak": speak, "hear": hear}[asked["role"]](asked))


# --- the bench --------------------------------------------------------------------------------------------------------


async def measured(rooms: int, voice: str, server: dict[str, str]) -> dict[str, Any]:
    """Measure one number of rooms: `core_per_room` of each process, and of its main thread."""
    program = [sys.executable, "-m", "bench.rooms_per_process", "--work"]
    asked = {"rooms": rooms, "voice": voice, **server}
    async with (
        room_alone.started(program, {**asked, "role": "speak"}) as speaks,
        room_alone.started(program, {**asked, "role": "hear"}) as hears,
    ):
        await asyncio.sleep(SETTLE_S)
        pids = {"speak": speaks, "hear": hears}
        before = {role: (measure.cpu_s(pid), measure.loop_s(pid)) for role, pid in pids.items()}
        began = time.monotonic()
        await asyncio.sleep(WINDOW_S)
        room_s = (time.monotonic() - began) * rooms
        found: dict[str, Any] = {"rooms": rooms, "voice": voice}
        for role, pid in pids.items():
            whole, loop = measure.cpu_s(pid) - before[role][0], measure.loop_s(pid) - before[role][1]
            found[role] = {"core_per_room": round(whole / room_s, 4), "of_it_loop": round(loop / room_s, 4)}
    return found


async def report(numbers: list[int], voice: str) -> None:
    async with room_alone.room_server() as server:
        for rooms in numbers:
            print(json.dumps(await measured(rooms, voice, server)), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench.rooms_per_process", description=(__doc__ or "").split("\n\n")[0]
    )
    parser.add_argument("--rooms", type=int, nargs="+", default=list(ROOMS))
    parser.add_argument("--voice", choices=VOICES, default=VOICES[0])
    parser.add_argument("--work", type=json.loads, help=argparse.SUPPRESS)
    told = parser.parse_args()
    processes.run(work(told.work) if told.work else report(told.rooms, told.voice))


if __name__ == "__main__":
    main()
