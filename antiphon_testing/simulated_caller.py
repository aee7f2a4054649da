"""Simulated callers of a platform of processes: each call's two lines are recorded on one clock.

    async with open_process_platform(agent) as platform:
        async with platform.call("agent") as caller:
            caller.say(pcm)
            await caller.until(lambda: caller.state.speaking > 0)
        assert caller.heard.any()

Agents use the real recognizer unless their documents name another.
"""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from antiphon_testing.echo_path import EchoPath
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

HZ = AGENT_HZ  # sample rate of both lines in `said` and `heard`
WITHIN_S = 20.0  # seconds; no step takes longer unless something is broken
LOOK_EVERY_S = 0.02  # one frame
SILENT = 30  # of 32,768: samples of the agent's silence are below

EventKind = TypeVar("EventKind", bound=Event)
Samples = NDArray[np.int16]


class SimulatedCaller:
    """One call. After its end, `said` and `heard` are its two lines at HZ, sample 0 of both at the same moment."""

    def __init__(self, caller: Caller, followed: FollowedSession) -> None:
        self.say = caller.say
        self.said: Samples = np.zeros(0, np.int16)
        self.heard: Samples = np.zeros(0, np.int16)
        self._caller = caller
        self._followed = followed

    @property
    def state(self) -> SessionState:
        """Return the fold of the session's events so far."""
        return self._followed.state

    def events(self, kind: type[EventKind]) -> list[EventKind]:
        """Return the events of one kind so far."""
        return self._followed.all(kind)

    async def until(self, met: Callable[[], bool], within_s: float = WITHIN_S) -> None:
        """Return at the first frame at which `met` returns true. Raises TimeoutError; AssertionError after the call."""
        async with asyncio.timeout(within_s):
            while not met():
                assert not self._caller.over.is_set(), f"the call is over: {self._caller.problem or 'hung up'}"
                await asyncio.sleep(LOOK_EVERY_S)

    async def heard_out(self, within_s: float = WITHIN_S) -> None:
        """Return when all speech has been sent and answered, and the answer has been heard to its end."""
        caller = self._caller
        await self.until(lambda: not (caller.saying or caller.hearing or self.state.busy), within_s)


class ProcessPlatform:
    """A platform whose stages are processes. bus: a connection for the test."""

    def __init__(self, bus: Bus) -> None:
        self.bus = bus

    @asynccontextmanager
    async def call(self, agent: str, echo: EchoPath | None = None) -> AsyncIterator[SimulatedCaller]:
        """Make a call; return after its last event. echo: of a caller on a speakerphone."""
        client = SessionClient(self.bus)
        offer = await client.claim(agent)
        with Recording() as recording:
            async with client.follow(offer.session) as followed:
                async with dial(offer.url, agent, offer.session, recording, echo) as caller:
                    simulated = SimulatedCaller(caller, followed)
                    yield simulated
                await followed.until_closed()
            simulated.said, simulated.heard = recording.lines(HZ)


@asynccontextmanager
async def open_process_platform(*agents: AgentDocument, warm: str = "local") -> AsyncIterator[ProcessPlatform]:
    """Run NATS, the config service and five stages as processes, in a folder that is removed at the end."""
    with tempfile.TemporaryDirectory(prefix="antiphon-") as folder:
        settings = PlatformSettings(Path(folder), inherited(), warm=warm)
        async with open_platform(settings, asyncio.Event()) as running, connect(BusSettings(url=running.nats)) as bus:
            await ConfigClient(bus).set(list(agents))
            yield ProcessPlatform(bus)
