"""The least that calls in rooms cost: LiveKit's SDK alone does for the callers of `bench.rooms` what a call is.

One process, one connection for each room, nothing between ear and mouth: 200 ms after the last loud frame, which is
what the scripted providers take, 2 s of sound in frames of 20 ms. Taken in the same minutes as the product it tells
what is the machine's: the figures of two days are only alike beside this one.
"""

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from livekit import rtc

from bench import measure
from bench.load import CAPACITY, FINAL_MS, FIRST_AUDIO_MS, FIRST_TOKEN_MS
from bench.mouth_to_ear import agent_token
from bench.rooms import callers
from cli import processes
from cli.room_server import RoomServer
from schemas.audio import AGENT_HZ, CALLER_HZ, FRAME_MS
from stages.tts import tones

ANSWERS_AFTER_S = (FINAL_MS + FIRST_TOKEN_MS + FIRST_AUDIO_MS) / 1000
ANSWER_S = 2.0
LOUD = 328  # 1 % of full scale, as for the scripted recogniser
FRAME = tones.hum(FRAME_MS)
STARTED_WITHIN_S = 60.0


class Agent:
    """One room."""

    def __init__(self) -> None:
        self._room = rtc.Room()
        self._source = rtc.AudioSource(AGENT_HZ, 1)
        self._tasks: list[asyncio.Task[None]] = []

    async def join(self, url: str, token: str) -> None:
        self._room.on("track_subscribed", lambda track, *_: self._tasks.append(asyncio.create_task(self._hear(track))))
        await self._room.connect(url, token)
        track = rtc.LocalAudioTrack.create_audio_track("agent", self._source)
        microphone = rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_MICROPHONE)
        await self._room.local_participant.publish_track(track, microphone)

    async def _hear(self, track: Any) -> None:
        spoke = False
        async for event in rtc.AudioStream(track, sample_rate=CALLER_HZ, num_channels=1, frame_size_ms=FRAME_MS):
            speaks = int(np.abs(np.frombuffer(event.frame.data, np.int16).astype(np.int32)).max()) > LOUD
            if spoke and not speaks:
                self._tasks.append(asyncio.create_task(self._answer()))
            spoke = speaks

    async def _answer(self) -> None:
        await asyncio.sleep(ANSWERS_AFTER_S)
        for _ in range(round(ANSWER_S * 1000 / FRAME_MS)):
            await self._source.capture_frame(rtc.AudioFrame(FRAME, AGENT_HZ, 1, AGENT_HZ * FRAME_MS // 1000))


async def work(asked: dict[str, Any]) -> None:
    """Say `ready` once in every room, and live until stdin closes."""
    agents = [Agent() for _ in range(asked["rooms"])]
    for number, agent in enumerate(agents):
        await agent.join(asked["url"], agent_token(f"bench-{number}", asked["key"], asked["secret"]))
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
    os._exit(0)  # nobody is to be told goodbye


async def measured(rooms: int, window_s: float) -> dict[str, Any]:
    """One run."""
    with tempfile.TemporaryDirectory() as folder:
        server = RoomServer(Path(folder))
        keeping = asyncio.create_task(server.keep())
        try:
            await asyncio.wait_for(server.ready.wait(), STARTED_WITHIN_S)
            asked = {"url": server.url, **RoomServer.keys(Path(folder)), "rooms": rooms, "window_s": window_s}
            return await _measured(asked)
        finally:
            await server.stop()
            await keeping


async def _measured(asked: dict[str, Any]) -> dict[str, Any]:
    agents = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench.room_floor", "--work", json.dumps(asked),
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert agents.stdin
    assert agents.stdout
    assert await asyncio.wait_for(agents.stdout.readline(), STARTED_WITHIN_S) == b"ready\n"
    async with callers(asked, CAPACITY) as found_by_callers:
        theft, before, began = measure.Theft(), measure.cpu_s(agents.pid), time.monotonic()
        await asyncio.sleep(asked["window_s"])
        cost = (measure.cpu_s(agents.pid) - before) / (time.monotonic() - began)
        stolen_cores = round(theft.cores, 3)
        told = await found_by_callers()
    agents.stdin.close()
    await agents.wait()
    return {
        "rooms": asked["rooms"],
        "window_s": asked["window_s"],
        "core_per_room": round(cost / asked["rooms"], 4),
        "turns": told["turns"],
        "answers": len(told["latency_ms"]),
        "latency_ms": measure.percentiles(told["latency_ms"]),
        "stolen_cores": stolen_cores,
        "machine": measure.machine(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.room_floor", description=__doc__)
    parser.add_argument("--rooms", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=40.0)
    parser.add_argument("--work", type=json.loads, help=argparse.SUPPRESS)
    told = parser.parse_args()
    if told.work:
        processes.run(work(told.work))
    else:
        print(json.dumps(processes.run(measured(told.rooms, told.seconds)), indent=1))


if __name__ == "__main__":
    main()
