"""A whole platform in the event loop of a test: nats-server, the config service, one worker or more of every stage.

    async with open_platform(tmp_path, agents=[scripted_agent("echo")]) as platform:
        session = await platform.simulated_call("echo", turns=1)
        await session.until(SessionClosed)

It starts in tens of milliseconds, and a test can look into its workers. `processes.py` runs a platform as users do.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import msgspec

from antiphon_testing.caller_pattern import CallerPattern, simulate
from antiphon_testing.event_recorder import SessionEvents
from bus import server
from bus.connect import Bus, connect
from bus.errors import ServiceError
from bus.session_client import SessionClient
from bus.settings import BusSettings
from composition.ingress import IngressSettings, open_ingress
from composition.services import open_config
from composition.worker import WorkerSettings, open_stage
from config_service.client import ConfigClient
from schemas import subjects
from schemas.agent import AgentDocument
from schemas.config import UNAVAILABLE
from stages.runtime.providers import ProviderContext
from stages.runtime.worker import Worker
from transports.transport import RoomTransport

WITHIN_S = 20.0  # seconds for each step; no step takes longer unless something is broken


class Platform:
    """A running platform. bus: a connection for the test. workers: by stage, also those that were stopped."""

    def __init__(self, bus: Bus, stack: AsyncExitStack, url: str, rooms: RoomTransport | None = None) -> None:
        self.bus = bus
        self.rooms = rooms
        self.nats = url
        self.workers: dict[str, list[Worker]] = {stage: [] for stage in subjects.STAGES}
        self._stack = stack
        self._runs: dict[str, tuple[asyncio.Event, asyncio.Task[None]]] = {}

    @property
    def ingress(self) -> Worker:
        """Return the first worker of ingress."""
        return self.workers[subjects.INGRESS][0]

    @property
    def all_workers(self) -> list[Worker]:
        """Return every worker."""
        return [worker for workers in self.workers.values() for worker in workers]

    async def add(self, stage: str, capacity: int = 100, context: ProviderContext | None = None) -> Worker:
        """Start one more worker of a stage, with its own connection; return it when it takes claims."""
        bus = await self._stack.enter_async_context(connect(BusSettings(url=self.nats), stage))
        settings = WorkerSettings(stage, capacity, drain_s=WITHIN_S, providers=context or ProviderContext())
        opening = (
            open_ingress(bus, settings, IngressSettings(rooms=self.rooms, simulate=simulate))
            if stage == subjects.INGRESS
            else open_stage(bus, settings)
        )
        opened = await self._stack.enter_async_context(opening)
        worker, stop = opened.worker, asyncio.Event()
        self._runs[worker.id] = stop, asyncio.create_task(opened.run(stop))
        self.workers[stage].append(worker)
        async with asyncio.timeout(WITHIN_S):
            await opened.ready()
        return worker

    async def stop(self, worker: Worker, drain_s: float | None = None) -> None:
        """Drain and end a worker, as SIGTERM does. drain_s: instead of the worker's own."""
        if drain_s is not None:
            worker.drain_s = drain_s
        if worker.id in self._runs:
            stop, run = self._runs.pop(worker.id)
            stop.set()
            await asyncio.wait_for(run, WITHIN_S + 5)

    async def set(self, *agents: AgentDocument) -> None:
        """Store agents; try again while the disk of a busy machine is slower than the service waits for."""
        async with asyncio.timeout(WITHIN_S):
            while True:
                try:
                    await ConfigClient(self.bus).set(list(agents))
                    return
                except ServiceError as refused:
                    if refused.code != UNAVAILABLE:
                        raise

    async def record(self, session: str = "", *, agent: str | None = None, ephemerals: bool = True) -> SessionEvents:
        """Record the events of one session from now on, or of every session, or of those of one agent."""
        recorded = SessionEvents(session)
        subscribing = SessionClient(self.bus).subscribed(
            recorded.receive, agent=agent, session=session or None, ephemerals=ephemerals
        )
        await recorded.subscribed.enter_async_context(subscribing)
        self._stack.push_async_callback(recorded.stop)
        return recorded

    async def simulated_call(self, agent: str, **pattern: int) -> SessionEvents:
        """Let a simulated caller call an agent; return the journaled events. pattern: fields of CallerPattern."""
        recorded = await self.record(agent=agent, ephemerals=False)
        options = msgspec.structs.asdict(CallerPattern(**pattern))
        offer = await SessionClient(self.bus).claim(agent, "null", options=options)
        recorded.only(offer.session)
        return recorded


@asynccontextmanager
async def open_platform(
    folder: Path,
    agents: Sequence[AgentDocument] = (),
    workers: int = 1,
    rooms: RoomTransport | None = None,
    host: str = "127.0.0.1",
) -> AsyncIterator[Platform]:
    """Start `workers` workers of every stage, with all files in `folder`; stop them in the order of `antiphon up`."""
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(server.serve(folder, host=host))
        bus = await stack.enter_async_context(connect(BusSettings(url=url), "test"))
        await stack.enter_async_context(open_config(bus, f"sqlite+aiosqlite:///{folder / 'agents.db'}"))
        platform = Platform(bus, stack, url, rooms)
        await platform.set(*agents)
        try:
            for stage in subjects.STAGES:
                for _ in range(workers):
                    await platform.add(stage)
            yield platform
        finally:
            for stage in subjects.STAGES:  # ingress first: it ends its calls in order
                for worker in platform.workers[stage]:
                    await platform.stop(worker, drain_s=0)
