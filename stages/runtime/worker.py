"""The life of a process that works for one stage: in the queue group or out of it, its sessions, its drain.

What a claim means differs between ingress (a caller asks for a line) and the other stages (ingress asks for an owner),
so the answer to it is given in; everything else is the same for all five.
"""

import asyncio
import gc
import os
import socket
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from typing import Protocol

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
DRAIN_S = 30.0  # how long SIGTERM waits for own sessions; a hand-over makes this short in a later version
COLLECT_AFTER_S = 1.0  # of no session: what calls leave behind in cycles goes then, and not during a later call
UNKNOWN_EVERY_S = 0.1  # how often media for nobody is reported back

# stage -> the stage whose audio it receives
AUDIO_FROM = {subjects.STT: subjects.INGRESS, subjects.EGRESS: subjects.TTS, subjects.INGRESS: subjects.EGRESS}

log = structlog.get_logger("worker")


class Work(Protocol):
    """What a worker does for its stage."""

    async def claimed(self, data: bytes) -> bytes:
        """The answer to a claim."""

    async def attend(self) -> None:
        """What goes on beside the sessions, for as long as the worker lives: beats."""

    async def end(self, session: str) -> None:
        """End one session now, in an orderly way and within 3 s."""

    def describe(self, session: Inbox) -> WorkerSession:
        """What `antiphon ps` shows of a session."""


class Worker:
    """One stage in one process. `run` returns when it was told to stop and has drained."""

    def __init__(self, bus: Bus, stage: str, capacity: int = CAPACITY, drain_s: float = DRAIN_S) -> None:
        self.bus = bus
        self.stage = stage
        self.capacity = capacity
        self.drain_s = drain_s
        self.id = subjects.new_id()
        self.sessions: dict[str, Inbox] = {}
        self.counters: Counter[str] = Counter()
        self.draining = False
        self.url = ""  # ingress: where callers connect
        self.ready = asyncio.Event()
        self.tasks: asyncio.TaskGroup
        self._audio_from = AUDIO_FROM.get(stage, "")
        self._work: Work
        self._group: QueueGroup
        self._room = asyncio.Event()
        self._unknown_at = 0.0

    # --- the process ----------------------------------------------------------------------------------------------

    async def run(self, work: Work, stop: asyncio.Event) -> None:
        """Take claims until `stop`, then leave the queue group, wait for own sessions, end those that are left."""
        self._work = work
        self._group = QueueGroup(self.bus, self.stage, self._on_claim)
        if self._audio_from:
            await self.bus.subscribe_media(subjects.media_to(self.id), self._on_media)
        status = {"status": (subjects.worker(self.id), self._tell)}
        service = await services.serve(self.bus, self.stage, status, queue=self.id, stats=self._stats)
        async with service, asyncio.TaskGroup() as self.tasks:
            attending = self.tasks.create_task(work.attend())
            await self._group.join()
            await self.bus.flush()
            self.ready.set()
            await stop.wait()
            await self._drain()
            attending.cancel()

    async def _drain(self) -> None:
        self.draining = True
        await self._group.leave()
        began = time.monotonic()
        while self.sessions and time.monotonic() - began < self.drain_s:
            await asyncio.sleep(0.05)
        await asyncio.gather(*(self._work.end(session) for session in list(self.sessions)))

    # --- sessions -------------------------------------------------------------------------------------------------

    @property
    def full(self) -> bool:
        return len(self.sessions) >= self.capacity

    def admit(self, session: Inbox) -> None:
        """Hold a session; a full worker leaves the queue group."""
        self.sessions[session.id] = session
        if self.full and not self.draining:
            self.tasks.create_task(self._group.leave())

    def release(self, session: Inbox) -> None:
        """Forget a session; a worker with room again joins the group again."""
        was_full = self.full
        if self.sessions.get(session.id) is session:
            del self.sessions[session.id]
        self.counters += session.counted()
        if was_full and not self.full and not self.draining:
            self.tasks.create_task(self._group.join())
        if not self.sessions:
            asyncio.get_running_loop().call_later(COLLECT_AFTER_S, self._collect)

    def _collect(self) -> None:
        if not self.sessions:
            gc.collect()

    async def listen(self, session: Inbox, stages: Iterable[str], lives: Iterable[str] = ()) -> list[Subscription]:
        """One subscription for each stage the session hears: the order of each speaker is kept."""
        filters = [subjects.events(session.context.agent_id, session.id, stage) for stage in stages]
        filters += [subjects.ephemerals(session.context.agent_id, session.id, stage) for stage in lives]
        return [await self.bus.subscribe(subject, session.receive_event) for subject in filters]

    async def contain(self, session: str, life: Awaitable[None], gave_up: Callable[[BaseException], None]) -> None:
        """Await a session's life. Whatever it raises ends that session only: the one place where all is caught."""
        try:
            await life
        except Exception as error:  # noqa: BLE001 - whatever it is, the other calls go on
            log.error("session failed", session=session, stage=self.stage, places=places(error))
            gave_up(error)

    # --- what sessions say: the Outlet of a StageContext --------------------------------------------------------------

    def publish_event(self, subject: str, data: bytes, message_id: str) -> None:
        journal.publish(self.bus, subject, data, message_id)

    def publish_ephemeral(self, subject: str, data: bytes) -> None:
        self.bus.publish(subject, data)

    def publish_media(self, subject: str, data: bytes) -> None:
        lingers = self.stage == subjects.INGRESS  # a caller's frame may; an answer is waited for
        self.bus.publish_media(subject, data, lingers=lingers)

    # --- what comes in ----------------------------------------------------------------------------------------------

    def _on_claim(self, message: Message) -> None:
        self.tasks.create_task(self._answer(message.data, message.reply))

    async def _answer(self, data: bytes, reply: str) -> None:
        try:
            answer = await self._work.claimed(data)
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
        now = time.monotonic()
        if now - self._unknown_at > UNKNOWN_EVERY_S:
            self._unknown_at = now
            unknown = control.Unknown(self.id, session)
            self.bus.publish(subjects.control(session, self.stage, "unknown"), control.encode(unknown))

    # --- what it tells of itself ------------------------------------------------------------------------------------

    def status(self) -> WorkerStatus:
        """What `antiphon ps` shows."""
        sessions = [self._work.describe(held) for held in self.sessions.values()]
        counted = self.counters + sum((held.counted() for held in self.sessions.values()), Counter())
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

    async def _tell(self, _message: Message) -> bytes:
        return msgspec.json.encode(self.status())
