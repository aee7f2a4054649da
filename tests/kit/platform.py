"""The whole product in the loop of a test: a real nats-server, the config service, one worker (or more) of every stage.

    async with open_platform(tmp_path, agents=[scripted("echo")]) as home:
        call = await home.null_call("echo", turns=1)

Processes of their own are `tests/kit/processes.py`; this is what starts in tens of milliseconds and can be looked into.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from antiphon_testing.caller_pattern import CallerPattern, simulate
from bus import server
from bus.connect import Bus, Subscription, connect
from bus.errors import ServiceError
from bus.message import Message
from bus.settings import BusSettings
from composition.ingress import IngressSettings, open_ingress
from composition.worker import WorkerSettings, open_stage
from config_service.client import ConfigClient
from config_service.service import open_service
from schemas import control, events, subjects
from schemas.agent import AgentDocument
from schemas.config import UNAVAILABLE
from schemas.events import Event
from stages.runtime.providers import ProviderContext
from stages.runtime.worker import Worker
from transports.transport import RoomTransport

WITHIN_S = 20.0

EventKind = TypeVar("EventKind", bound=Event)


def scripted(agent: str, **changes: Any) -> AgentDocument:
    """An agent whose providers are all scripted; `stt`, `llm`, `tts` are their options."""
    kinds = {kind: {"provider": "scripted", "options": changes.pop(kind, {})} for kind in ("stt", "llm", "tts")}
    return AgentDocument.model_validate({"id": agent, **kinds, **changes})


class Heard:
    """The events of one session as the bus brought them."""

    def __init__(self, session: str) -> None:
        self.session = session
        self.events: list[Event] = []
        self.subscriptions: list[Subscription] = []
        self._came = asyncio.Event()

    def hear(self, message: Message) -> None:
        try:
            event = events.decode(message.data)
        except events.BadEvent:  # a test may say rubbish
            return
        if self.session in ("", event.session):  # a null call's session is known after its first call_events
            self.events.append(event)
            self._came.set()

    async def until(self, kind: type[EventKind], number: int = 1, within_s: float = WITHIN_S) -> EventKind:
        """The `number`th event of a kind, waited for."""
        async with asyncio.timeout(within_s):
            while len(found := self.all(kind)) < number:
                self._came.clear()
                await self._came.wait()
        return found[number - 1]

    def only(self, session: str) -> None:
        """Of all that was heard, keep one session."""
        self.session = session
        self.events = [event for event in self.events if event.session == session]

    def all(self, kind: type[EventKind]) -> list[EventKind]:
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def tags(self) -> list[str]:
        return [events.tag(event) for event in self.events]


class Platform:
    """A running house."""

    def __init__(self, bus: Bus, stack: AsyncExitStack, url: str, rooms: RoomTransport | None = None) -> None:
        self.bus = bus
        self.rooms = rooms
        self.nats = url
        self.workers: dict[str, list[Worker]] = {stage: [] for stage in subjects.STAGES}
        self._stack = stack
        self._runs: dict[str, tuple[asyncio.Event, asyncio.Task[None]]] = {}

    @property
    def ingress(self) -> Worker:
        return self.workers[subjects.INGRESS][0]

    @property
    def everybody(self) -> list[Worker]:
        return [worker for workers in self.workers.values() for worker in workers]

    async def add(self, stage: str, capacity: int = 100, context: ProviderContext | None = None) -> Worker:
        """One more worker of a stage, with a bus connection of its own, ready for claims."""
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
        """What SIGTERM does: drain and end."""
        if drain_s is not None:
            worker.drain_s = drain_s
        if worker.id in self._runs:
            stop, run = self._runs.pop(worker.id)
            stop.set()
            await asyncio.wait_for(run, WITHIN_S + 5)

    async def set(self, *agents: AgentDocument) -> None:
        """Tried again where the disk of a busy machine is slower than the service waits for."""
        async with asyncio.timeout(WITHIN_S):
            while True:
                try:
                    await ConfigClient(self.bus).set(list(agents))
                    return
                except ServiceError as refused:
                    if refused.code != UNAVAILABLE:
                        raise

    async def listen(self, session: str = "") -> Heard:
        """From now on, all events of a session, or of every one, live ones included."""
        heard = Heard(session)
        for subject in (subjects.events(session=session or None), subjects.ephemerals(session=session or None)):
            heard.subscriptions.append(await self.bus.subscribe(subject, heard.hear))
        await self.bus.flush()
        return heard

    async def null_call(self, agent: str, **pattern: int) -> Heard:
        """A call whose caller is made in ingress."""
        heard = Heard("")
        heard.subscriptions.append(await self.bus.subscribe(subjects.events(agent=agent), heard.hear))
        await self.bus.flush()
        asked = control.ClaimSession(agent, "null", msgspec.structs.asdict(CallerPattern(**pattern)))
        answer = await self.bus.request(subjects.claim(subjects.INGRESS), control.encode(asked), 5)
        line = control.decode(answer, control.SessionOffer)
        assert not line.refused, line
        heard.only(line.session)
        return heard


@asynccontextmanager
async def open_platform(
    folder: Path,
    agents: Sequence[AgentDocument] = (),
    workers: int = 1,
    rooms: RoomTransport | None = None,
    host: str = "127.0.0.1",
) -> AsyncIterator[Platform]:
    """A house with `workers` of every stage, torn down in the order that `antiphon up` uses."""
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(server.serve(folder, host=host))
        bus = await stack.enter_async_context(connect(BusSettings(url=url), "test"))
        await stack.enter_async_context(open_service(bus, f"sqlite+aiosqlite:///{folder / 'agents.db'}"))
        home = Platform(bus, stack, url, rooms)
        await home.set(*agents)
        try:
            for stage in subjects.STAGES:
                for _ in range(workers):
                    await home.add(stage)
            yield home
        finally:
            for stage in subjects.STAGES:  # ingress first: it ends the calls in order
                for worker in home.workers[stage]:
                    await home.stop(worker, drain_s=0)
