"""The front of a worker of ingress: gives lines to callers, and knows which of its sessions are alive."""

import asyncio
import math
import time
from collections.abc import Coroutine
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import structlog

from bus.connect import Bus
from bus.heartbeats import EVERY_S
from bus.message import Message
from config_service.client import BUILT_IN, AgentUnavailable, ConfigClient, Runtime, UnknownAgent
from schemas import control, subjects
from schemas.control import WorkerSession
from schemas.events import CloseReason, MetadataRefused
from schemas.subjects import BadId, check_id
from stages.ingress.coordinator import Coordinator
from stages.runtime.context import StageContext
from stages.runtime.inbox import Inbox
from stages.runtime.worker import Worker
from transports import null
from transports.transport import NO_ARRIVAL, Arrival, CallerConnection, Refused, RoomTransport
from transports.websocket import call_url

RESERVED_S = 10.0  # a claimed line that nobody calls is given up
FIRST_EPOCH = 1  # ingress speaks at this; every claim of a stage raises it

log = structlog.get_logger("ingress")

STAGE = Coordinator

T = TypeVar("T")


@dataclass(frozen=True)
class Reserved:
    """A slot that is kept for a caller. until: on the monotonic clock. agent: empty, nobody may have it."""

    until: float
    agent: str = ""
    arrival: Arrival = NO_ARRIVAL


class Ingress:
    """The work of an ingress worker, whose `url` says where its websocket door is."""

    def __init__(
        self,
        worker: Worker,
        config: ConfigClient,
        rooms: RoomTransport | None = None,
        simulate: null.Simulate | None = None,
    ) -> None:
        """rooms: None for an ingress that serves no rooms. simulate: the callers of transport `null`, None for none."""
        self._worker = worker
        self._config = config
        self._rooms = rooms
        self._simulate = simulate
        self._calls: dict[str, Coordinator] = {}
        self._reserved: dict[str, Reserved] = {}

    # --- lines ------------------------------------------------------------------------------------------------------

    async def answer_claim(self, data: bytes) -> bytes:
        asked = control.decode(data, control.ClaimSession)
        return control.encode(await self._line(asked))

    async def _line(self, asked: control.ClaimSession) -> control.SessionOffer:
        if asked.version != control.VERSION:
            return control.SessionOffer(refused="version", detail=f"this ingress speaks version {control.VERSION}")
        if self._worker.draining or self._full:
            return control.SessionOffer(refused="full", detail="this ingress has no line free")
        try:
            await self._config.get(check_id(asked.agent, "agent id"))
        except (UnknownAgent, BadId) as unknown:
            return control.SessionOffer(refused="unknown_agent", detail=str(unknown))
        except AgentUnavailable as unavailable:
            return control.SessionOffer(refused="agent_unavailable", detail=str(unavailable))
        session = subjects.new_id()
        if asked.room:
            return self._room(asked.agent, f"call-{session}")
        if asked.transport == "null":
            return self._null_call(asked, session)
        self._reserved[session] = Reserved(time.monotonic() + RESERVED_S, asked.agent)
        return control.SessionOffer(session, call_url(self._worker.url, asked.agent, session))

    def _room(self, agent: str, room: str) -> control.SessionOffer:
        """A room nobody is in yet: the server tells an ingress once somebody is."""
        if self._rooms is None:
            return control.SessionOffer(
                refused="failed", detail="this ingress takes no rooms: start it with --livekit-url"
            )
        return self._rooms.offer(agent, room)

    def _null_call(self, asked: control.ClaimSession, session: str) -> control.SessionOffer:
        """Start a call with a simulated caller."""
        if self._simulate is None:
            return control.SessionOffer(refused="failed", detail="this ingress simulates no callers")
        try:
            frames = self._simulate(asked.options)
        except ValueError as error:
            return control.SessionOffer(refused="failed", detail=f"cannot simulate this caller: {error}")
        self._reserved[session] = Reserved(time.monotonic() + RESERVED_S, asked.agent)
        self._worker.tasks.create_task(null.call(self.answer, asked.agent, session, frames))
        return control.SessionOffer(session, call_url(self._worker.url, asked.agent, session))

    async def answer(
        self, agent: str, session: str | None, transport: str, connection: CallerConnection
    ) -> Coordinator:
        """A caller is there: open a session for it. Raises Refused."""
        arrival: Arrival = NO_ARRIVAL
        try:
            agent = check_id(agent, "agent id")
            if session is not None:
                reserved = self._reserved.get(check_id(session, "session id"))
                if reserved is None or reserved.agent != agent:
                    raise Refused(f"session {session} was not claimed here, or too long ago: claim a line again")
                self._reserved[session] = Reserved(time.monotonic() + RESERVED_S)  # a slot still, for no other caller
                arrival = reserved.arrival
            if self._worker.draining or (session is None and self._full):
                raise Refused("no line is free here: try again in a moment")
            runtime, arrival = await self._runtime(agent, arrival)
        except (UnknownAgent, AgentUnavailable, BadId) as error:
            raise Refused(str(error)) from None
        context = StageContext(
            subjects.INGRESS,
            session or subjects.new_id(),
            runtime.document.id,
            FIRST_EPOCH,
            self._worker,
            Coordinator.publishes,
        )
        context.agent = runtime.document
        call = Inbox(context)
        coordinator = Coordinator(self._worker, call, runtime.document, transport, connection, arrival)
        self._calls[call.id] = coordinator
        self._reserved.pop(call.id, None)
        self._worker.admit(call)
        self._worker.tasks.create_task(self._serve(call, coordinator))
        return coordinator

    async def _runtime(self, agent: str, arrival: Arrival) -> tuple[Runtime, Arrival]:
        """What the call runs on. A room whose agent nobody knows gets the default one, or the one that is built in."""
        try:
            return await self._config.get(agent), arrival
        except UnknownAgent:
            if arrival is NO_ARRIVAL or self._rooms is None:
                raise
        unknown = MetadataRefused(reason="unknown_agent", field="agent_id")
        arrival = replace(arrival, refused=(*arrival.refused, unknown))
        try:
            return await self._config.get(self._rooms.default_agent), arrival
        except (UnknownAgent, BadId):
            log.warning("the default agent is unknown, the built-in one answers", agent=self._rooms.default_agent)
            return await self._config.get(BUILT_IN), arrival

    async def _serve(self, call: Inbox, coordinator: Coordinator) -> None:
        subscriptions = await self._worker.listen(call, subjects.CLAIMED)
        await self._worker.bus.flush(media=False)
        try:
            await self._worker.contain(call.id, coordinator.run(), lambda _error: None)
        finally:
            del self._calls[call.id]
            self._worker.release(call)
            for subscription in subscriptions:
                await subscription.unsubscribe()

    async def end_session(self, session: str) -> None:
        if session in self._calls:
            self._calls[session].hang_up("shutdown")
            while session in self._calls:
                await asyncio.sleep(EVERY_S / 2)

    @property
    def _full(self) -> bool:
        return self.busy >= self._worker.capacity

    # --- rooms: `RoomHost` ------------------------------------------------------------------------------------------

    @property
    def id(self) -> str:
        return self._worker.id

    @property
    def bus(self) -> Bus:
        return self._worker.bus

    @property
    def capacity(self) -> int:
        return self._worker.capacity

    @property
    def draining(self) -> bool:
        return self._worker.draining

    def count(self, reason: str) -> None:
        self._worker.counters[reason] += 1

    @property
    def busy(self) -> int:
        return len(self._worker.sessions) + len(self._reserved)

    def reserve(self, within_s: float) -> str | None:
        if self._worker.draining or self._full:
            return None
        session = subjects.new_id()
        self._reserved[session] = Reserved(time.monotonic() + within_s)
        return session

    def accept(
        self, session: str, agent: str, arrival: Arrival, serving: Coroutine[Any, Any, None]
    ) -> asyncio.Task[None]:
        self._reserved[session] = Reserved(math.inf, agent, arrival)
        task = self._worker.tasks.create_task(self._worker.contain(session, serving, lambda _error: None))
        task.add_done_callback(lambda _task: self._reserved.pop(session, None))
        return task

    def hang_up(self, session: str, reason: CloseReason) -> bool:
        if session in self._reserved:
            return False
        if session in self._calls:  # else it is over, and whoever serves it is about to leave
            self._calls[session].hang_up(reason)
        return True

    # --- liveness ---------------------------------------------------------------------------------------------------

    async def serve(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._watch())
            if self._rooms:
                tasks.create_task(self._rooms.serve(self))

    async def _watch(self) -> None:
        await self._worker.bus.subscribe(subjects.heartbeats_to(self._worker.id), self._on_beat)
        await self._worker.bus.subscribe(subjects.unknowns(), self._on_unknown)
        await self._worker.bus.subscribe(subjects.hang_ups(), self._on_hang_up)
        while True:
            await asyncio.sleep(EVERY_S)
            now = time.monotonic()
            for coordinator in list(self._calls.values()):
                coordinator.check()
            for session, reserved in list(self._reserved.items()):
                if reserved.until < now:
                    del self._reserved[session]

    def _on_beat(self, message: Message) -> None:
        beat = self._read(message.data, control.Heartbeat, "bad_heartbeat")
        if beat:
            for session in self._calls.keys() & set(beat.sessions):
                self._calls[session].seen(beat.stage, beat.worker)

    def _on_unknown(self, message: Message) -> None:
        if message.subject.split(".")[2] in self._calls:
            self._worker.counters["unknown_to_owner"] += 1

    def _on_hang_up(self, message: Message) -> None:
        close = self._read(message.data, control.Close, "bad_control")
        if close and close.session in self._calls:  # another ingress answers for its own
            self._calls[close.session].hang_up(close.reason)
            self._worker.bus.publish(message.reply, control.encode(control.Closed(self._worker.id)))

    def _read(self, data: bytes, kind: type[T], counted: str) -> T | None:
        """None for what is no such message."""
        try:
            return control.decode(data, kind)
        except control.BadMessage:
            self._worker.counters[counted] += 1
            return None

    def describe(self, session: Inbox) -> WorkerSession:
        age_s = round(session.age_s, 1)
        call = self._calls[session.id]
        return WorkerSession(session.id, session.context.agent_id, call.epoch, age_s, call.owners())
