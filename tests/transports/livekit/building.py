"""A house with rooms, and a call in one of them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import count

import numpy as np

from antiphon_testing.agents import scripted_agent
from antiphon_testing.event_recorder import SessionEvents
from antiphon_testing.platform import Platform
from antiphon_testing.room_caller import RoomCaller, enter_room, token
from antiphon_testing.room_server import RoomServer
from schemas.audio import CALLER_HZ
from schemas.events import SessionOpened
from transports.livekit.rooms import LiveKitRooms

ECHO = scripted_agent(
    "echo",
    llm={"replies": ["You said {text}."]},
    stt={"texts": ["one", "two", "three"], "interim_ms": 100},
    tts={"duration_ms": 600},
    greeting="Hello there.",
)


def hum(seconds: float) -> bytes:
    """What the scripted_agent recogniser takes for an utterance."""
    return bytes((0.4 * 32_767 * np.sin(np.arange(int(seconds * CALLER_HZ)) * 0.12)).astype("<i2"))


@dataclass
class InRoom:
    """A visitor whose agent has arrived."""

    name: str
    visitor: RoomCaller
    heard: SessionEvents
    opened: SessionOpened


class Building:
    """A house with rooms."""

    def __init__(self, home: Platform, server: RoomServer, rooms: LiveKitRooms) -> None:
        self.home = home
        self.rooms = rooms
        self.server = server
        self._numbers = count()

    def room(self) -> str:
        return f"room-{next(self._numbers)}"

    @asynccontextmanager
    async def call(self, name: str = "", *, microphone: bool = True, kind: str = "") -> AsyncIterator[InRoom]:
        """A visitor comes, and with them the agent. kind: of participant, if not a standard one."""
        name = name or self.room()
        heard = await self.home.record()
        async with enter_room(self.server.url, token(name, kind=kind), microphone=microphone) as visitor:
            await visitor.until(lambda: any(opened(event, name) for event in heard.all(SessionOpened)))
            event = next(event for event in heard.all(SessionOpened) if opened(event, name))
            heard.only(event.session)
            yield InRoom(name, visitor, heard, event)


def opened(event: SessionOpened, room: str) -> bool:
    return event.origin is not None and event.origin.room == room
