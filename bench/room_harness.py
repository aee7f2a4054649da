"""A running platform with rooms, and participants in them that use LiveKit's SDK alone."""

import asyncio
import json
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import NamedTuple

from pydantic import SecretStr

from antiphon_testing.environment import inherited
from antiphon_testing.room_caller import CALLER, RoomCaller, close, enter_room, participants, token
from bus.connect import Bus
from bus.message import Message
from bus.workers import list_workers
from composition.platform import PlatformSettings, open_platform
from composition.room_server import RoomServer
from schemas import media, subjects
from schemas.agent import AgentDocument
from transports.livekit.identities import agent_identity, ingress_identity
from transports.livekit.room_service import RoomService
from transports.livekit.settings import LiveKitSettings

COMES_WITHIN_S = 30.0
LOOK_EVERY_S = 0.1
SETTLED_S = 0.5  # after the agent has entered: LiveKit announces no two new tracks to a participant within 150 ms


class Participants(NamedTuple):
    """A caller in a room, and a hidden witness that receives the same packets with LiveKit's SDK alone."""

    caller: RoomCaller
    witness: RoomCaller


class Tap:
    """The callers' audio as stt receives it: session -> PCM16 at 16 kHz."""

    def __init__(self) -> None:
        self._lines: dict[str, bytearray] = {}

    async def open(self, bus: Bus) -> None:
        for one in await list_workers(bus):
            if one.stage == subjects.STT:
                await bus.subscribe_media(subjects.media_to(one.id), self._hear)

    def line(self, caller: RoomCaller) -> bytes:
        """Return the audio of a caller who is in a room with one agent."""
        [session] = {agent.identity.removeprefix(agent_identity("")) for agent in caller.agents}
        return bytes(self._lines.get(session, b""))

    def _hear(self, message: Message) -> None:
        self._lines.setdefault(subjects.last_token(message.subject), bytearray()).extend(media.decode(message.data).pcm)


class RoomHarness:
    """Rooms, each closed after its caller: the local engines carry few sessions."""

    def __init__(self, url: str, tap: Tap, key: str, secret: str) -> None:
        self.tap = tap
        self._url = url
        self._keys = key, secret
        self._numbers = count()

    @asynccontextmanager
    async def attended(self) -> AsyncIterator[Participants]:
        """Enter with an open microphone; yield when an agent has entered and listens."""
        async with (
            self._room() as room,
            enter_room(self._url, token(room, "caller", *self._keys)) as caller,
            self._witness(room) as witness,
        ):
            await witness.until(lambda: bool(witness.heard))
            await caller.until(lambda: caller.state == "listening")
            yield Participants(caller, witness)

    @asynccontextmanager
    async def attending(self, agent: AgentDocument, saying: bytes) -> AsyncIterator[Participants]:
        """Send an agent ahead, enter, and speak in the first packet of the microphone."""
        async with self._room() as room:
            key, secret = self._keys
            settings = LiveKitSettings(url=self._url, key=key, secret=SecretStr(secret))
            await RoomService(settings).dispatch(room, "", json.dumps({"agent_id": agent.id}))
            await self._until_attended(room)
            async with self._witness(room) as witness:
                await asyncio.sleep(SETTLED_S)
                async with enter_room(self._url, token(room, "caller", *self._keys), microphone=False) as caller:
                    caller.say(saying)
                    await caller.open_microphone()
                    yield Participants(caller, witness)

    @asynccontextmanager
    async def _room(self) -> AsyncIterator[str]:
        room = f"words-{next(self._numbers)}"
        try:
            yield room
        finally:
            await close(self._url, room, *self._keys)

    @asynccontextmanager
    async def _witness(self, room: str) -> AsyncIterator[RoomCaller]:
        unseen = token(room, "witness", *self._keys, hidden=True)
        async with enter_room(self._url, unseen, microphone=False, hears=CALLER) as witness:
            yield witness

    async def _until_attended(self, room: str) -> None:
        """Return when the participants of both ingress and egress are in the room."""
        async with asyncio.timeout(COMES_WITHIN_S):
            while True:
                there = await participants(self._url, room, *self._keys)
                if all(any(one.startswith(half("")) for one in there) for half in (ingress_identity, agent_identity)):
                    return
                await asyncio.sleep(LOOK_EVERY_S)


@asynccontextmanager
async def open_room_harness(default: AgentDocument, *others: AgentDocument) -> AsyncIterator[RoomHarness]:
    """Run a platform with LiveKit as processes. default: the agent of rooms that name none."""
    from bus.connect import connect
    from bus.settings import BusSettings
    from config_service.client import ConfigClient

    with tempfile.TemporaryDirectory(prefix="antiphon-") as folder:
        settings = PlatformSettings(
            Path(folder), inherited(), warm="local,scripted", livekit=True, default_agent=default.id
        )
        async with open_platform(settings, asyncio.Event()) as running, connect(BusSettings(url=running.nats)) as bus:
            await ConfigClient(bus).set([default, *others])
            tap = Tap()
            await tap.open(bus)
            yield RoomHarness(running.livekit, tap, *RoomServer.keys(settings.data).values())
