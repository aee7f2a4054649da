"""Run callers in rooms in one process of their own, which is not counted to Antiphon.

Each is a participant that uses LiveKit's SDK alone. Their task comes as a line of JSON; they print `begin` when the
measured window begins, and a line of JSON with their figures at the end.
"""

import asyncio
import json
import sys
import time
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from livekit import rtc

from antiphon_testing.caller_pattern import SILENT_FRAME, CallerPattern, frames
from antiphon_testing.room_caller import token
from cli import processes
from schemas.audio import AGENT_HZ, CALLER_HZ, FRAME_MS

APART_S = 1.0  # between two callers who enter
QUIET_S = 0.3  # of silence of the agent: the next sound is another answer
LOUD = 500  # of 32,768
FIRST_S = 5.0  # from joining to the first word
LAST_S = 1.5  # in which the last answer begins
QUEUE_MS = 2 * FRAME_MS  # the caller's own frames that wait in the SDK
ENDS_WITHIN_S = 60.0


class Onsets:
    """The moments at which the agent's audio began to sound after a silence."""

    def __init__(self) -> None:
        self.heard_at: list[float] = []
        self._loud_at = 0.0

    def hear(self, pcm: bytes | memoryview) -> None:
        """Note the onset in 20 ms of PCM16."""
        if int(np.abs(np.frombuffer(pcm, np.int16).astype(np.int32)).max()) < LOUD:
            return
        now = time.monotonic()
        if now - self._loud_at >= QUIET_S:
            self.heard_at.append(now)
        self._loud_at = now


class Speech:
    """The caller's audio, frame by frame, and when each utterance began and ended."""

    def __init__(self, pattern: CallerPattern) -> None:
        self.began_at: list[float] = []
        self.over_at: list[float] = []
        self._pattern = pattern

    def __iter__(self) -> Iterator[bytes]:
        """Yield frames; each must be asked for when it is sent."""
        speaks = False
        for pcm in frames(self._pattern):
            if speaks != (pcm is not SILENT_FRAME):
                (self.over_at if speaks else self.began_at).append(time.monotonic())
            speaks = pcm is not SILENT_FRAME
            yield pcm


def waits_ms(since: Iterable[float], onsets: Onsets) -> list[float]:
    """Return ms from each moment to the first onset after it, where there is one."""
    return [(min(after) - at) * 1000 for at in since if (after := [heard for heard in onsets.heard_at if heard > at])]


class Caller:
    """One caller in a room."""

    def __init__(self, pattern: CallerPattern) -> None:
        self.join_ms = 0.0
        self.published = 0  # when the agent's track was published, UTC microseconds
        self.speech = Speech(pattern)
        self.onsets = Onsets()
        self.arrived = asyncio.Event()

    async def live(self, url: str, token: str, over: asyncio.Event) -> None:
        room = rtc.Room()
        began = time.monotonic()
        ears: list[asyncio.Task[None]] = []

        def subscribed(track: Any, _publication: Any, _person: Any) -> None:
            self.join_ms = (time.monotonic() - began) * 1000
            self.arrived.set()
            ears.append(asyncio.create_task(self._listen(track)))

        def published(_publication: Any, _person: Any) -> None:
            self.published = time.time_ns() // 1_000

        room.on("track_published", published)
        room.on("track_subscribed", subscribed)
        await room.connect(url, token)
        source = rtc.AudioSource(CALLER_HZ, 1, queue_size_ms=QUEUE_MS)
        track = rtc.LocalAudioTrack.create_audio_track("microphone", source)
        microphone = rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_MICROPHONE)
        await room.local_participant.publish_track(track, microphone)
        await self._speak(source, over)
        for ear in ears:
            ear.cancel()
        await room.disconnect()

    async def _speak(self, source: Any, over: asyncio.Event) -> None:
        for pcm in self.speech:
            if over.is_set():
                return
            await source.capture_frame(rtc.AudioFrame(pcm, CALLER_HZ, 1, CALLER_HZ * FRAME_MS // 1000))

    async def _listen(self, track: Any) -> None:
        stream = rtc.AudioStream(track, sample_rate=AGENT_HZ, num_channels=1, frame_size_ms=FRAME_MS, capacity=50)
        async for event in stream:
            self.onsets.hear(event.frame.data)


async def call(asked: dict[str, Any]) -> None:
    """Run all callers; print `begin` when the window begins, and their figures at the end."""
    over = asyncio.Event()
    pattern = CallerPattern(asked["speech_ms"], asked["every_ms"], turns=1_000, start_ms=int(FIRST_S * 1000))
    callers: list[Caller] = []
    lives = []
    for number in range(asked["rooms"]):
        callers.append(Caller(pattern))
        pass_ = token(f"bench-{number}", "caller", asked["key"], asked["secret"])
        lives.append(asyncio.create_task(callers[-1].live(asked["url"], pass_, over)))
        await asyncio.sleep(APART_S)
    await asyncio.wait_for(asyncio.gather(*(caller.arrived.wait() for caller in callers)), ENDS_WITHIN_S)
    await asyncio.sleep(FIRST_S)
    sys.stdout.write("begin\n")
    sys.stdout.flush()
    began = time.monotonic()
    await asyncio.sleep(asked["window_s"])
    until = time.monotonic()
    await asyncio.sleep(LAST_S)
    over.set()
    await asyncio.wait_for(asyncio.gather(*lives), ENDS_WITHIN_S)
    turns = [[at for at in caller.speech.over_at if began <= at < until] for caller in callers]
    told = {
        "latency_ms": [ms for caller, ends in zip(callers, turns, strict=True) for ms in waits_ms(ends, caller.onsets)],
        "join_ms": [caller.join_ms for caller in callers],
        "turns": sum(map(len, turns)),
        "published": {f"bench-{number}": caller.published for number, caller in enumerate(callers)},
    }
    sys.stdout.write(json.dumps(told) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    processes.run(call(json.loads(sys.stdin.readline())))
