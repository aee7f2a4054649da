"""Measure what a room adds to a turn: the same turn in a room and over a websocket, and the bare way of a room.

One run has three callers at the same time: in a room, at a websocket, and in a room in which a participant of LiveKit's
SDK sends the caller's audio back. That echo is the time of two ways through a room with the caller's own queue.
The turn in the room, less the echo and less the turn over the websocket, is the share of Antiphon.
"""

import argparse
import asyncio
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import aiohttp
from livekit import api, rtc

from antiphon_testing.caller_pattern import CallerPattern
from antiphon_testing.environment import inherited
from antiphon_testing.room_caller import token
from bench import measure
from bench.load import AGENT, CAPACITY, agent
from bench.room_callers import FIRST_S, LAST_S, Caller, Onsets, Speech, waits_ms
from cli import processes
from schemas import control, subjects
from schemas.audio import CALLER_HZ, FRAME_MS

TURNS = 20
CLAIM_WITHIN_S = 5.0
ECHO_FRAME_MS = 20


def agent_token(room: str, key: str, secret: str) -> str:
    """Return the token of the participant that answers: an agent to LiveKit, so that it sends no other."""
    grants = api.VideoGrants(room_join=True, room=room)
    config = api.RoomConfiguration(agents=[api.RoomAgentDispatch(agent_name="nobody")])
    made = api.AccessToken(key, secret).with_identity("agent").with_grants(grants).with_room_config(config)
    return made.with_kind("agent").to_jwt()


async def echo(url: str, token: str, over: asyncio.Event) -> None:
    """Send the caller's audio back."""
    room = rtc.Room()
    source = rtc.AudioSource(CALLER_HZ, 1, queue_size_ms=2 * ECHO_FRAME_MS)
    sending: list[asyncio.Task[None]] = []

    async def send_back(track: Any) -> None:
        async for event in rtc.AudioStream(track, sample_rate=CALLER_HZ, num_channels=1, frame_size_ms=ECHO_FRAME_MS):
            await source.capture_frame(event.frame)

    room.on("track_subscribed", lambda track, *_: sending.append(asyncio.create_task(send_back(track))))
    await room.connect(url, token)
    await room.local_participant.publish_track(rtc.LocalAudioTrack.create_audio_track("echo", source))
    await over.wait()
    for task in sending:
        task.cancel()
    await room.disconnect()


class Dialled:
    """A caller at a websocket with the pattern of the caller in the room."""

    def __init__(self, pattern: CallerPattern) -> None:
        self.speech = Speech(pattern)
        self.onsets = Onsets()

    async def live(self, url: str, over: asyncio.Event) -> None:
        async with aiohttp.ClientSession() as http, http.ws_connect(url) as line:
            listening = asyncio.create_task(self._listen(line))
            due = time.monotonic()
            for pcm in self.speech:
                if over.is_set():
                    break
                await line.send_bytes(pcm)
                due += FRAME_MS / 1000
                await asyncio.sleep(max(0.0, due - time.monotonic()))
            listening.cancel()

    async def _listen(self, line: aiohttp.ClientWebSocketResponse) -> None:
        async for message in line:
            if message.type is aiohttp.WSMsgType.BINARY:
                self.onsets.hear(message.data)


async def measured(turns: int) -> dict[str, Any]:
    """Make one run; return its figures."""
    from bus.connect import connect
    from bus.settings import BusSettings
    from composition.platform import PlatformSettings, open_platform
    from composition.room_server import RoomServer
    from config_service.client import ConfigClient

    pattern = CallerPattern(CAPACITY.speech_ms, CAPACITY.every_ms, turns=turns + 2, start_ms=int(FIRST_S * 1000))
    with tempfile.TemporaryDirectory() as folder:
        settings = PlatformSettings(Path(folder), inherited(), warm="scripted", livekit=True, default_agent=AGENT)
        async with open_platform(settings, asyncio.Event()) as running, connect(BusSettings(url=running.nats)) as bus:
            await ConfigClient(bus).set([agent(CAPACITY)])
            asked = control.ClaimSession(AGENT, "websocket")
            claimed = await bus.request(subjects.claim(subjects.INGRESS), control.encode(asked), CLAIM_WITHIN_S)
            line = control.decode(claimed, control.SessionOffer)
            key, secret = RoomServer.keys(Path(folder)).values()
            over = asyncio.Event()
            in_room, by_socket, echoed = Caller(pattern), Dialled(pattern), Caller(pattern)
            lives = [asyncio.create_task(echo(running.livekit, agent_token("echo", key, secret), over))]
            await asyncio.sleep(1)  # the echo enters before its caller
            lives += [
                asyncio.create_task(echoed.live(running.livekit, token("echo", "caller", key, secret), over)),
                asyncio.create_task(in_room.live(running.livekit, token("turn", "caller", key, secret), over)),
                asyncio.create_task(by_socket.live(line.url, over)),
            ]
            await asyncio.sleep(FIRST_S + turns * CAPACITY.every_ms / 1000 + LAST_S)
            over.set()
            await asyncio.gather(*lives)
    found = {
        "room_ms": waits_ms(in_room.speech.over_at, in_room.onsets),
        "websocket_ms": waits_ms(by_socket.speech.over_at, by_socket.onsets),
        "echo_ms": waits_ms(echoed.speech.began_at, echoed.onsets),
    }
    told: dict[str, Any] = {name: measure.percentiles(values) for name, values in found.items()}
    told["turns"] = {name: len(values) for name, values in found.items()}
    told["ours_p50_ms"] = round(told["room_ms"]["p50"] - told["websocket_ms"]["p50"] - told["echo_ms"]["p50"], 1)
    return told | {"machine": measure.machine()}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.mouth_to_ear", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--turns", type=int, default=TURNS)
    print(json.dumps(processes.run(measured(parser.parse_args().turns)), indent=1))


if __name__ == "__main__":
    main()
