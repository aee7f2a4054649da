"""Measure the least cost of calls in rooms: LiveKit's SDK alone answers the callers of `bench.rooms`.

One process with one connection for each room answers 200 ms after the last loud frame, the delay of the scripted
providers, with 2 s of sound in frames of 20 ms. Measured in the same minutes as Antiphon, it shows the share of the
machine: figures of two days compare only beside this baseline.
"""

import argparse
import asyncio
import json
import sys
from typing import Any

from livekit import rtc

from bench import room_alone
from bench.load import CAPACITY, FINAL_MS, FIRST_AUDIO_MS, FIRST_TOKEN_MS
from bench.mouth_to_ear import agent_token
from cli import processes
from schemas.audio import AGENT_HZ, CALLER_HZ, FRAME_MS
from stages.stt.loudness import loud
from stages.tts import token_codec

ANSWERS_AFTER_S = (FINAL_MS + FIRST_TOKEN_MS + FIRST_AUDIO_MS) / 1000
FRAME = token_codec.hum(FRAME_MS)


class Agent:
    """Answer in one room."""

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
            speaks = loud(bytes(event.frame.data))
            if spoke and not speaks:
                self._tasks.append(asyncio.create_task(self._answer()))
            spoke = speaks

    async def _answer(self) -> None:
        await asyncio.sleep(ANSWERS_AFTER_S)
        for _ in range(CAPACITY.answer_ms // FRAME_MS):
            await self._source.capture_frame(rtc.AudioFrame(FRAME, AGENT_HZ, 1, AGENT_HZ * FRAME_MS // 1000))


async def work(asked: dict[str, Any]) -> None:
    """Answer in every room until standard input closes."""
    agents = [Agent() for _ in range(asked["rooms"])]
    for number, agent in enumerate(agents):
        await agent.join(asked["url"], agent_token(f"bench-{number}", asked["key"], asked["secret"]))
    await room_alone.live(agents)


async def measured(rooms: int, window_s: float) -> dict[str, Any]:
    """Make one run; return its figures."""
    return await room_alone.measured([sys.executable, "-m", "bench.room_baseline", "--work"], rooms, window_s, CAPACITY)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.room_baseline", description=__doc__)
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
