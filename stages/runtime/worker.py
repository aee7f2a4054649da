"""One stage in one process: its queue group, its sessions, its drain.

The stage's role decides what a claim means: ingress offers a session to a caller, every other stage hosts one for
ingress. All else is equal for the five stages.
"""

import asyncio
import gc
import os
import socket
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Protocol, TypeVar

import msgspec
import structlog

from bus import journal, services
from bus.claims import QueueGroup
from bus.connect import Bus, Subscription
from bus.message import Message
from schemas import control, subjects
from schemas.control import WorkerSession, WorkerStatus
from stages.runtime.inbox import Inbox
from telemetry.logs import places

CAPACITY = 100
DRAIN_S = 30.0  # SIGTERM waits so long for the calls of an ingress
HAND_OVER_S = 5.0  # and so long for the turn boundary at which a session of another stage moves to another worker
COLLECT_AFTER_S = 1.0  # without a session: the collector then disturbs no call
UNKNOWN_EVERY_S = 0.1  # the shortest time between two reports of media for an unknown session

# stage -> the stage whose audio it receives
AUDIO_FROM = {subjects.STT: subjects.INGRESS, subjects.EGRESS: subjects.TTS, subjects.INGRESS: subjects.EGRESS}

T = TypeVar("T")

log = structlog.get_logger("worker")


def default_drain_s(stage: str) -> float:
    """Return how many seconds a stop waits for the sessions of a worker of `stage`."""
    return DRAIN_S if stage == subjects.INGRESS else HAND_OVER_S


class WorkerRole(Protocol):
    """The work of a stage in its worker: StageHost implements it, and Ingress."""

    def answer_claim(self, data: bytes) -> Coroutine[object, None, bytes]:
        """Take a claim in at once and return its answer to be awaited. Raises BadMessage or BadId, at once or later."""

    async def serve(self) -> None:
        """Run what goes on beside the sessions, such as heartbeats, until cancelled."""

    async def drain(self, within_s: float) -> None:
        """Let the sessions end or move to other workers, for `within_s` and a little more."""

    async def end_session(self, session: str) -> None:
        """End one session in an orderly way, within 3 s."""

    def describe(self, session: Inbox) -> WorkerSession:
        """Return the row of a session in `antiphon ps`."""


class Worker:
    """A process's membership in one stage. `run` returns after its stop event is set and the worker has drained."""

    def __init__(self, bus: Bus, stage: str, capacity: int = CAPACITY, drain_s: float | None = None) -> None:
        """drain_s: how long a stop waits for sessions; None for the default of the stage."""
        self.bus = bus
        self.stage = stage
        self.capacity = capacity
        self.drain_s = default_drain_s(stage) if drain_s is None else drain_s
        self.id = subjects.new_id()
        self.sessions: dict[str, Inbox] = {}
        self.counters: Counter[str] = Counter()
        self.draining = False
        self.url = ""  # ingress: where callers connect
        self.ready = asyncio.Event()
        self.tasks: asyncio.TaskGroup
        self._audio_from = AUDIO_FROM.get(stage, "")
        self._role: WorkerRole
        self._group: QueueGroup
        self._unknown_at_s = 0.0

    # --- the process ------------------------------------------------------------------------------------------------

    async def run(self, role: WorkerRole, stop: asyncio.Event) -> None:
        """Take claims until `stop`, leave the queue group, wait for the sessions, and end those that are left."""
        self._role = role
        self._group = QueueGroup(self.bus, self.stage, self._on_claim)
        if self._audio_from:
            await self.bus.subscribe_media(subjects.media_to(self.id), self._on_media)
        status = {"status": (subjects.worker(self.id), self._on_status)}
        service = await services.serve(self.bus, self.stage, status, queue=self.id, stats=self._stats)
        async with service, asyncio.TaskGroup() as self.tasks:
            serving = self.tasks.create_task(role.serve())
            await self._group.join()
            await self.bus.flush()
            self.ready.set()
            await stop.wait()
            await self._drain()
            serving.cancel()

    async def _drain(self) -> None:
        self.draining = True
        await self._group.leave()
        await self._role.drain(self.drain_s)
        await asyncio.gather(*(self._role.end_session(session) for session in list(self.sessions)))

    # --- sessions ---------------------------------------------------------------------------------------------------

    @property
    def full(self) -> bool:
        """Whether the worker hosts as many sessions as it may."""
        return len(self.sessions) >= self.capacity

    def admit(self, session: Inbox) -> None:
        """Add a session, in place of an earlier one of its id. A full worker leaves the queue group."""
        self.sessions[session.id] = session
        if self.full and not self.draining:
            self.spawn(self._group.leave())

    def release(self, session: Inbox) -> None:
        """Remove a session and keep its counters. A worker that is no longer full joins the group again."""
        was_full = self.full
        if self.sessions.get(session.id) is session:
            del self.sessions[session.id]
        self.counters += session.counted()
        if was_full and not self.full and not self.draining:
            self.spawn(self._group.join())
        if not self.sessions:
            asyncio.get_running_loop().call_later(COLLECT_AFTER_S, self._collect)

    def _collect(self) -> None:
        if not self.sessions:
            gc.collect()

    async def listen(self, session: Inbox, stages: Iterable[str], ephemeral: Iterable[str] = ()) -> list[Subscription]:
        """Subscribe the session to the events of `stages` and the ephemerals of `ephemeral`.

        Each stage has one subscription, so that the session receives its events in order.
        """
        agent = session.context.agent_id
        filters = [subjects.events(agent, session.id, stage) for stage in stages]
        filters += [subjects.ephemerals(agent, session.id, stage) for stage in ephemeral]
        return [await self.bus.subscribe(subject, session.receive_event) for subject in filters]

    def spawn(self, work: Coroutine[object, None, T]) -> asyncio.Task[T] | None:
        """Run `work` in a task of this worker; None if the worker is being cancelled and takes no more tasks."""
        try:
            return self.tasks.create_task(work)
        except RuntimeError:  # the task group shuts down; with the process goes what `work` would have cleaned up
            work.close()
            return None

    async def contain(self, session: str, life: Awaitable[None], failed: Callable[[BaseException], None]) -> None:
        """Await a session's life and give an exception of it to `failed`: it ends that session only.

        This is the one place where a stage's exception is caught and logged.
        """
        try:
            await life
        except Exception as error:  # noqa: BLE001 - whatever it is, the other sessions go on
            log.error("session failed", session=session, stage=self.stage, places=places(error))
            failed(error)

    # --- the Outlet of a StageContext ---------------------------------------------------------------------------------

    def publish_event(self, subject: str, data: bytes, message_id: str) -> None:
        """Publish an event that the journal keeps."""
        journal.publish(self.bus, subject, data, message_id)

    def publish_ephemeral(self, subject: str, data: bytes) -> None:
        """Publish an event that may be lost."""
        self.bus.publish(subject, data)

    def publish_media(self, subject: str, data: bytes) -> None:
        """Send one frame. A caller's frame may linger for 2 ms; the agent's may not, because the caller waits."""
        self.bus.publish_media(subject, data, lingers=self.stage == subjects.INGRESS)

    # --- received messages ------------------------------------------------------------------------------------------

    def _on_claim(self, message: Message) -> None:
        try:
            answering = self._role.answer_claim(message.data)
        except (control.BadMessage, subjects.BadId):
            self.counters["bad_claim"] += 1
            return
        if self.spawn(self._answer_claim(answering, message.reply)) is None:
            answering.close()

    async def _answer_claim(self, answering: Coroutine[object, None, bytes], reply: str) -> None:
        try:
            answer = await answering
        except (control.BadMessage, subjects.BadId):
            self.counters["bad_claim"] += 1
            return
        self.bus.publish(reply, answer)

    def _on_media(self, message: Message) -> None:
        session_id = subjects.last_token(message.subject)
        session = self.sessions.get(session_id)
        if session is None:
            self._report_unknown(session_id)
            return
        session.receive_audio(message.data, self._audio_from)

    def _report_unknown(self, session: str) -> None:
        self.counters["unknown_session"] += 1
        now_s = time.monotonic()
        if now_s - self._unknown_at_s > UNKNOWN_EVERY_S:
            self._unknown_at_s = now_s
            unknown = control.Unknown(self.id, session)
            self.bus.publish(subjects.control(session, self.stage, "unknown"), control.encode(unknown))

    # --- status -----------------------------------------------------------------------------------------------------

    def status(self) -> WorkerStatus:
        """Return what `antiphon ps` shows of the worker."""
        sessions = [self._role.describe(session) for session in self.sessions.values()]
        counted = self.counters + sum((session.counted() for session in self.sessions.values()), Counter())
        if self.bus.undelivered:
            counted["undelivered"] = self.bus.undelivered
        return WorkerStatus(
            id=self.id,
            stage=self.stage,
            pid=os.getpid(),
            host=socket.gethostname(),
            capacity=self.capacity,
            state="draining" if self.draining else "full" if self.full else "ready",
            sessions=sessions,
            counters=dict(counted),
            url=self.url,
        )

    def _stats(self) -> object:
        return msgspec.to_builtins(self.status())

    async def _on_status(self, _message: Message) -> bytes:
        return msgspec.json.encode(self.status())
