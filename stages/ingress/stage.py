"""The ingress worker: offers and opens sessions, and hands each session its messages from the bus."""

import asyncio
import time
from collections.abc import Coroutine
from dataclasses import replace
from typing import Any, TypeVar

import structlog

from bus.connect import Bus
from bus.errors import BusError, NoResponders
from bus.heartbeats import EVERY_S
from bus.message import Message
from config_service.client import BUILT_IN, AgentUnavailable, ConfigClient, Runtime, UnknownAgent
from schemas import control, subjects
from schemas.control import WorkerSession
from schemas.events import CloseReason, MetadataRefused, SessionClosed
from schemas.subjects import BadId, check_id
from stages.ingress.caller_input import CheckedInput
from stages.ingress.claims import utc_us
from stages.ingress.clock_offsets import ClockOffsets
from stages.ingress.coordinator import Coordinator
from stages.ingress.reservations import RESERVED_S, Reservations
from stages.runtime.context import StageContext
from stages.runtime.inbox import Inbox
from stages.runtime.worker import Worker
from transports import null
from transports.transport import (
    CALLER_AUDIO,
    NO_ARRIVAL,
    Arrival,
    AudioFormat,
    CallerConnection,
    Refused,
    RoomTransport,
)
from transports.websocket import call_url

ORPHANS_EPOCH = 1 << 20  # of the last event of a session whose ingress is gone: above every epoch of that ingress
ALIVE_WITHIN_S = 1.0  # an ingress that answers is not gone
FIRST_EPOCH = 1  # ingress publishes at this epoch; every claim of a stage takes a higher one

log = structlog.get_logger("ingress")

STAGE = Coordinator

T = TypeVar("T")


class Ingress:
    """Runs the sessions of one ingress worker."""

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
        self._reserved = Reservations()
        self._answers_to = worker.bus.new_inbox()  # then .<session>.<stage>.<verb>.<epoch>
        self._offsets = ClockOffsets()

    # --- offers -----------------------------------------------------------------------------------------------------

    async def answer_claim(self, data: bytes) -> bytes:
        """Answer a `ClaimSession` with a `SessionOffer`."""
        asked = control.decode(data, control.ClaimSession)
        return control.encode(await self._offer(asked))

    async def _offer(self, asked: control.ClaimSession) -> control.SessionOffer:
        if asked.version != control.VERSION:
            return control.SessionOffer(refused="version", detail=f"this ingress speaks version {control.VERSION}")
        if self._worker.draining or self._full:
            return control.SessionOffer(refused="full", detail="this ingress has no capacity left")
        try:
            await self._config.get(check_id(asked.agent, "agent id"))
        except (UnknownAgent, BadId) as unknown:
            return control.SessionOffer(refused="unknown_agent", detail=str(unknown))
        except AgentUnavailable as unavailable:
            return control.SessionOffer(refused="agent_unavailable", detail=str(unavailable))
        session = subjects.new_id()
        if asked.room:
            return self._offer_room(asked.agent, f"call-{session}")
        if asked.transport == "null":
            return self._simulate_call(asked, session)
        self._reserved.keep(session, time.monotonic(), asked.agent)
        return control.SessionOffer(session, call_url(self._worker.url, asked.agent, session))

    def _offer_room(self, agent: str, room: str) -> control.SessionOffer:
        """Offer a new room. The session begins when the caller has entered: LiveKit then gives an ingress the job."""
        if self._rooms is None:
            detail = "cannot offer a room: this ingress takes no rooms. Start it with --livekit-url."
            return control.SessionOffer(refused="failed", detail=detail)
        return self._rooms.offer(agent, room)

    def _simulate_call(self, asked: control.ClaimSession, session: str) -> control.SessionOffer:
        """Start a call with a simulated caller."""
        if self._simulate is None:
            return control.SessionOffer(refused="failed", detail="this ingress simulates no callers")
        try:
            frames = self._simulate(asked.options)
        except ValueError as error:
            return control.SessionOffer(refused="failed", detail=f"cannot simulate this caller: {error}")
        self._reserved.keep(session, time.monotonic(), asked.agent)
        self._worker.tasks.create_task(null.call(self.answer, asked.agent, session, frames))
        return control.SessionOffer(session, call_url(self._worker.url, asked.agent, session))

    # --- sessions ---------------------------------------------------------------------------------------------------

    async def answer(
        self,
        agent: str,
        session: str | None,
        transport: str,
        connection: CallerConnection,
        audio: AudioFormat = CALLER_AUDIO,
    ) -> CheckedInput:
        """Open a session for a caller. Raises Refused. session: the one that was offered, None for a new one."""
        arrival = NO_ARRIVAL
        try:
            agent = check_id(agent, "agent id")
            if session is not None:
                arrival = self._arrival(check_id(session, "session id"), agent)
            if self._worker.draining or (session is None and self._full):
                raise Refused("cannot take the call: this ingress has no capacity left. Try again in a moment.")
            runtime, arrival = await self._runtime(agent, arrival)
        except (UnknownAgent, AgentUnavailable, BadId) as error:
            raise Refused(str(error)) from None
        session = session or subjects.new_id()
        context = StageContext(
            subjects.INGRESS, session, runtime.document.id, FIRST_EPOCH, self._worker, Coordinator.publishes
        )
        context.agent = runtime.document
        inbox = Inbox(context)
        coordinator = Coordinator(
            self._worker, inbox, runtime.document, transport, connection, arrival, self._answers_to, self._offsets
        )
        self._calls[session] = coordinator
        self._reserved.free(session)
        self._worker.admit(inbox)
        self._worker.tasks.create_task(self._serve(inbox, coordinator))
        return CheckedInput(coordinator, connection, audio)

    def _arrival(self, session: str, agent: str) -> Arrival:
        arrival = self._reserved.take(session, agent, time.monotonic())
        if arrival is None:
            raise Refused(f"cannot take the call: session {session} was not offered here, or too long ago. Ask again.")
        return arrival

    async def _runtime(self, agent: str, arrival: Arrival) -> tuple[Runtime, Arrival]:
        """Fetch the agent. A room that names an unknown agent gets the default agent, or the one that is built in."""
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
            log.warning("unknown default agent: the built-in agent answers", agent=self._rooms.default_agent)
            return await self._config.get(BUILT_IN), arrival

    async def _serve(self, inbox: Inbox, coordinator: Coordinator) -> None:
        subscriptions = await self._worker.listen(inbox, subjects.CLAIMED)
        await self._worker.bus.flush(media=False)
        try:
            await self._worker.contain(inbox.id, coordinator.run(), lambda _error: None)
        finally:
            del self._calls[inbox.id]
            self._worker.release(inbox)
            for subscription in subscriptions:
                await subscription.unsubscribe()

    async def drain(self, within_s: float) -> None:
        """Wait until the callers have hung up, at most `within_s`."""
        began_s = time.monotonic()
        while self._worker.sessions and time.monotonic() - began_s < within_s:
            await asyncio.sleep(EVERY_S / 2)

    async def end_session(self, session: str) -> None:
        """End a session because this worker shuts down; returns when the session is closed."""
        if session in self._calls:
            self._calls[session].hang_up("shutdown")
            while session in self._calls:
                await asyncio.sleep(EVERY_S / 2)

    def describe(self, session: Inbox) -> WorkerSession:
        """Return what `antiphon ps` shows of a session."""
        age_s = round(session.age_s, 1)
        owners = self._calls[session.id].claims.owners
        workers = {stage: owner.worker for stage, owner in owners.all().items()}
        return WorkerSession(session.id, session.context.agent_id, owners.epoch, age_s, workers)

    @property
    def _full(self) -> bool:
        return self.busy >= self._worker.capacity

    # --- rooms: `RoomHost` ------------------------------------------------------------------------------------------

    @property
    def id(self) -> str:
        """The worker's id."""
        return self._worker.id

    @property
    def bus(self) -> Bus:
        """The worker's connection to NATS."""
        return self._worker.bus

    @property
    def capacity(self) -> int:
        """The number of slots."""
        return self._worker.capacity

    @property
    def busy(self) -> int:
        """The number of sessions and kept slots."""
        return len(self._worker.sessions) + len(self._reserved)

    @property
    def draining(self) -> bool:
        """Whether the worker takes no new session."""
        return self._worker.draining

    def count(self, reason: str) -> None:
        """Increment the worker's counter `reason`."""
        self._worker.counters[reason] += 1

    def reserve(self, within_s: float) -> str | None:
        """Keep a slot for `within_s` and return its session id; None if there is no capacity."""
        if self._worker.draining or self._full:
            return None
        session = subjects.new_id()
        self._reserved.keep(session, time.monotonic(), within_s=within_s)
        return session

    def accept(
        self, session: str, agent: str, arrival: Arrival, serving: Coroutine[Any, Any, None]
    ) -> asyncio.Task[None]:
        """Run `serving` as a task of the worker, with the slot of `session` kept until it is done."""
        self._reserved.expect(session, agent, arrival)
        task = self._worker.tasks.create_task(self._worker.contain(session, serving, lambda _error: None))
        task.add_done_callback(lambda _task: self._reserved.free(session))
        return task

    def hang_up(self, session: str, reason: CloseReason) -> bool:
        """End a session; False if the session has not begun."""
        if session in self._reserved:
            return False
        if session in self._calls:  # otherwise the session is over already
            self._calls[session].hang_up(reason)
        return True

    # --- from the bus -----------------------------------------------------------------------------------------------

    async def serve(self) -> None:
        """Serve what goes on beside the sessions, for as long as the worker lives."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._listen())
            if self._rooms:
                tasks.create_task(self._rooms.serve(self))

    async def _listen(self) -> None:
        bus = self._worker.bus
        await bus.subscribe(f"{self._answers_to}.>", self._on_answer)
        await bus.subscribe(subjects.heartbeats_to(self._worker.id), self._on_heartbeat)
        await bus.subscribe(subjects.unknowns(), self._on_unknown)
        await bus.subscribe(subjects.hang_ups(), self._on_hang_up)
        await bus.subscribe(subjects.orphans(), self._on_orphan, queue=subjects.INGRESS)
        while True:
            await asyncio.sleep(RESERVED_S / 10)
            self._reserved.expire(time.monotonic())

    def _on_answer(self, message: Message) -> None:
        session, stage, verb, epoch = message.subject.split(".")[-4:]
        try:
            if session in self._calls:
                self._calls[session].claims.on_answer(stage, verb, int(epoch), message.data)
            elif verb == "claim" and message.data and not control.decode(message.data, control.Claimed).refused:
                release = control.encode(control.Release(session, int(epoch)))  # the session is over meanwhile
                self._worker.bus.publish(subjects.control(session, stage, "release"), release)
        except control.BadMessage:
            self._worker.counters["bad_control"] += 1

    def _on_heartbeat(self, message: Message) -> None:
        heartbeat = self._read(message.data, control.Heartbeat, "bad_heartbeat")
        if heartbeat:
            if heartbeat.time:
                self._offsets.note(heartbeat.worker, heartbeat.time, utc_us())
            for session in self._calls.keys() & set(heartbeat.sessions):
                playhead = heartbeat.playheads.get(session)
                self._calls[session].claims.on_heartbeat(heartbeat.stage, heartbeat.worker, playhead)

    def _on_unknown(self, message: Message) -> None:
        _, _, session, stage, _ = message.subject.split(".")
        unknown = self._read(message.data, control.Unknown, "bad_control")
        if unknown and session in self._calls:
            self._worker.counters["unknown_to_owner"] += 1
            self._calls[session].claims.on_unknown(stage, unknown.worker)

    def _on_hang_up(self, message: Message) -> None:
        close = self._read(message.data, control.Close, "bad_control")
        if close and close.session in self._calls:  # another ingress answers for its own sessions
            self._calls[close.session].hang_up(close.reason)
            self._worker.bus.publish(message.reply, control.encode(control.Closed(self._worker.id)))

    def _on_orphan(self, message: Message) -> None:
        orphaned = self._read(message.data, control.Orphaned, "bad_control")
        if orphaned:
            self._worker.spawn(self._end_orphan(orphaned, message.reply))

    async def _end_orphan(self, orphaned: control.Orphaned, reply: str) -> None:
        """Publish the end of a session unless its ingress lives. Each worker of the session reports it.

        Whichever ingress publishes, and however often: the event is the same, and the journal keeps it once.
        """
        try:
            await self._worker.bus.request(subjects.worker(check_id(orphaned.coordinator)), b"", ALIVE_WITHIN_S)
        except NoResponders:
            context = StageContext(
                subjects.INGRESS, orphaned.session, orphaned.agent, ORPHANS_EPOCH, self._worker, Coordinator.publishes
            )
            context.publish(SessionClosed(reason="ingress_lost", detail=f"ingress {orphaned.coordinator} is gone"))
            log.warning("session of a lost ingress closed", session=orphaned.session, coordinator=orphaned.coordinator)
        except (BusError, BadId):
            self._worker.counters["bad_control"] += 1
        self._worker.bus.publish(reply, control.encode(control.Closed(self._worker.id)))

    def _read(self, data: bytes, kind: type[T], counted: str) -> T | None:
        """Decode a message; None, and counted, if it is no message of that kind."""
        try:
            return control.decode(data, kind)
        except control.BadMessage:
            self._worker.counters[counted] += 1
            return None
