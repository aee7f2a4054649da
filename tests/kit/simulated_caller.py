"""A telephone: the product as processes of its own, and calls to it whose two lines are recorded on one clock.

    async with exchange(agent) as lines:
        async with lines.call("agent") as phone:
            phone.say(pcm)
            await phone.until(lambda: phone.state.speaking > 0)
        assert phone.heard.any()

Agents hear with the real recogniser unless their documents say otherwise.
"""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from antiphon_testing.environment import inherited
from antiphon_testing.recording import Recording
from antiphon_testing.websocket_caller import Caller, dial
from bus.connect import Bus, connect
from bus.session_client import FollowedSession, SessionClient
from bus.settings import BusSettings
from composition.platform import PlatformSettings, open_platform
from config_service.client import ConfigClient
from schemas.agent import AgentDocument
from schemas.audio import AGENT_HZ
from schemas.events import Event
from session.state import SessionState

HZ = AGENT_HZ  # of both lines as they are looked at
WITHIN_S = 20.0  # nothing here takes longer unless it is broken
LOOK_EVERY_S = 0.02  # one frame
SILENT = 30  # of 32,768: the agent's line is silent below

F = TypeVar("F", bound=Event)
Samples = NDArray[np.int16]


class Phone:
    """One call. Once it is over, `said` and `heard` are its two lines at HZ, sample 0 of both at the same moment."""

    def __init__(self, caller: Caller, followed: FollowedSession) -> None:
        self.say = caller.say
        self.said: Samples = np.zeros(0, np.int16)
        self.heard: Samples = np.zeros(0, np.int16)
        self._caller = caller
        self._followed = followed

    @property
    def state(self) -> SessionState:
        return self._followed.state

    def events(self, kind: type[F]) -> list[F]:
        """All of a kind so far."""
        return self._followed.all(kind)

    async def until(self, met: Callable[[], bool], within_s: float = WITHIN_S) -> None:
        """Return as soon as it holds, as a caller notices it: to the frame. Raises TimeoutError, CallFailed."""
        async with asyncio.timeout(within_s):
            while not met():
                assert not self._caller.over.is_set(), f"the call is over: {self._caller.problem or 'hung up'}"
                await asyncio.sleep(LOOK_EVERY_S)

    async def heard_out(self, within_s: float = WITHIN_S) -> None:
        """All was said, all was answered, and the answer was heard to its end."""
        caller = self._caller
        await self.until(lambda: not (caller.saying or caller.hearing or self.state.busy), within_s)


class Exchange:
    """A running product that can be called."""

    def __init__(self, bus: Bus) -> None:
        self.bus = bus

    @asynccontextmanager
    async def call(self, agent: str) -> AsyncIterator[Phone]:
        """A call from the first frame to the last event."""
        client = SessionClient(self.bus)
        offer = await client.claim(agent)
        with Recording() as recording:
            async with client.follow(offer.session) as followed:
                async with dial(offer.url, agent, offer.session, recording) as caller:
                    phone = Phone(caller, followed)
                    yield phone
                await followed.until_closed()
            phone.said, phone.heard = recording.lines(HZ)


@asynccontextmanager
async def exchange(*agents: AgentDocument, warm: str = "local") -> AsyncIterator[Exchange]:
    """NATS, the config service and five stages, each a process, in a folder that goes with them."""
    with tempfile.TemporaryDirectory(prefix="antiphon-") as folder:
        settings = PlatformSettings(Path(folder), inherited(), warm=warm)
        async with open_platform(settings, asyncio.Event()) as running, connect(BusSettings(url=running.nats)) as bus:
            await ConfigClient(bus).set(list(agents))
            yield Exchange(bus)


def listener(agent: str, *replies: str, **document: Any) -> AgentDocument:
    """An agent that hears with the real recogniser and answers by script, in tones that can be read back."""
    return AgentDocument.model_validate(
        {
            "id": agent,
            "llm": {"provider": "scripted", "options": {"replies": list(replies)}},
            "tts": {"provider": "scripted"},
            **document,
        }
    )
