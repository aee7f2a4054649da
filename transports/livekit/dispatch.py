"""Where LiveKit's rooms come in: the `/agent` worker protocol, one connection for a process.

A slot is reserved before a job is taken, so that the answer is given at once. What runs lives on while the connection
is away; a job for a room that is served already waits until that is over (docs/livekit.md).
"""

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Protocol

import aiohttp
import structlog

from config_service.client import BUILT_IN
from schemas.control import RoomAccess
from schemas.events import CloseReason
from stages.runtime.worker import Worker
from transports.livekit import worker_protocol as said
from transports.livekit.identities import Attend, Job, Keys, agent_identity, ear_identity
from transports.livekit.registration import FAILURES, receive, registered, why
from transports.livekit.room_lease import hold
from transports.livekit.room_reconciler import Forgotten
from transports.livekit.worker_protocol import Arrival, Assignment, Offer, Wanted
from transports.transport import Answer, Refused

STATUS_EVERY_S = 2.5
LOOK_EVERY_S = 0.1  # a change of load is told within this
ASSIGNED_WITHIN_S = 7.5  # then the slot is free again
PAUSE_S, LONGEST_PAUSE_S = 2.0, 10.0  # before connecting again: longer after each failure

log = structlog.get_logger("dispatch")


class Lines(Protocol):
    """What dispatch needs of the ingress it works for."""

    @property
    def answer(self) -> Answer:
        """Opens a session."""

    def reserve(self, within_s: float) -> str | None:
        """A session id whose slot is kept for so long; None when there is no room."""

    def expect(self, session: str, agent: str, arrival: Arrival) -> None:
        """Keep the slot until `free`."""

    def free(self, session: str) -> None:
        """The slot is not needed any more."""

    def hang_up(self, session: str, reason: CloseReason) -> bool:
        """End a session; False if it has not begun."""

    def busy(self) -> int:
        """Sessions and kept slots."""


@dataclass(frozen=True)
class Rooms:
    """What an ingress that takes rooms has.

    agent_name: empty takes every new room, a name those that ask for it. default_agent: for rooms that name nobody, or
    nobody that is known. registered: while jobs can come.
    """

    keys: Keys
    attend: Attend
    agent_name: str = ""
    default_agent: str = BUILT_IN
    registered: asyncio.Event = field(default_factory=asyncio.Event)


class Dispatch:
    """The jobs of one process."""

    def __init__(self, worker: Worker, lines: Lines, rooms: Rooms) -> None:
        self._worker = worker
        self._lines = lines
        self._rooms = rooms
        self._keys = rooms.keys
        self._socket: aiohttp.ClientWebSocketResponse | None = None
        self._offered: dict[str, str] = {}  # job -> session
        self._serving: dict[str, tuple[str, asyncio.Task[None]]] = {}  # job -> session and who serves it
        self._trouble = ""
        self._forgotten = Forgotten(worker.bus, rooms.keys)

    async def run(self) -> None:
        """Be there for jobs as long as the worker lives, whatever becomes of the server."""
        failures = 0
        await self._forgotten.listen()
        try:
            async with aiohttp.ClientSession() as http:
                while True:
                    try:
                        async with registered(http, self._keys, self._rooms.agent_name) as socket:
                            failures = 0
                            await self._listen(socket)
                    except FAILURES as error:
                        self._tell(why(error))
                    self._socket = None
                    self._rooms.registered.clear()
                    self._offered.clear()  # the server forgets them, too
                    failures += 1
                    await asyncio.sleep(min(PAUSE_S * failures, LONGEST_PAUSE_S))
        finally:
            for session, task in self._serving.values():
                if not self._lines.hang_up(session, "shutdown"):
                    task.cancel()

    # --- the connection -----------------------------------------------------------------------------------------------

    async def _listen(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket, self._trouble = socket, ""
        self._rooms.registered.set()
        log.info("takes rooms", url=self._keys.url, agent_name=self._rooms.agent_name, worker=self._worker.id)
        beside = [asyncio.create_task(self._tell_status())]
        if not self._rooms.agent_name:  # who has a name goes where it is called
            beside.append(asyncio.create_task(self._forgotten.look()))
        try:
            while True:
                try:
                    await self._hear(await receive(socket))
                except said.BadMessage:
                    self._worker.counters["bad_room_message"] += 1
        finally:
            for task in beside:
                task.cancel()

    async def _tell_status(self) -> None:
        told: tuple[int, bool] | None = None
        at = 0.0
        while True:
            busy = self._lines.busy()
            now = busy, not self._worker.draining and busy < self._worker.capacity
            if now != told or time.monotonic() - at > STATUS_EVERY_S:
                told, at = now, time.monotonic()
                await self._say(said.status(busy, self._worker.capacity, takes=now[1]))
            await asyncio.sleep(LOOK_EVERY_S)

    async def _say(self, message: str) -> None:
        """What cannot be said now is not said: a server that lost us has forgotten the job."""
        if self._socket is not None:
            with suppress(ConnectionError):
                await self._socket.send_str(message)

    def _tell(self, trouble: str) -> None:
        if trouble != self._trouble:  # once, and not at every attempt
            self._trouble = trouble
            log.warning(f"no rooms come from {self._keys.url}: {trouble}; trying on", serving=len(self._serving))

    # --- jobs ---------------------------------------------------------------------------------------------------------

    async def _hear(self, told: said.Told) -> None:
        if told.availability:
            await self._offer(told.availability)
        elif told.assignment:
            self._assign(told.assignment)
        elif told.termination:
            self._end(told.termination.job_id)

    async def _offer(self, offer: Offer) -> None:
        job = offer.job.id
        session = None if job in self._serving else self._lines.reserve(ASSIGNED_WITHIN_S)
        if session is None:
            await self._say(said.unavailable(job))
            return
        self._offered[job] = session
        asyncio.get_running_loop().call_later(ASSIGNED_WITHIN_S, self._give_up, job, session)
        await self._say(said.available(job, ear_identity(session)))

    def _give_up(self, job: str, session: str) -> None:
        if self._offered.get(job) == session:
            del self._offered[job]

    def _assign(self, assignment: Assignment) -> None:
        wanted = assignment.job
        session = self._offered.pop(wanted.id, None)
        if session is None:
            self._worker.counters["job_too_late"] += 1
            return
        room, url = wanted.room.name, assignment.url or self._keys.url
        told = said.metadata(wanted.metadata, wanted.room.metadata)
        agent = told.agent or self._rooms.default_agent
        job = Job(wanted.id, room, session, agent, url, assignment.token, told.fields)

        def access() -> RoomAccess:
            return RoomAccess(url, self._keys.egress_token(room, session))

        self._lines.expect(session, agent, Arrival(told.origin(room), told.refused, access))
        life = self._worker.contain(session, self._serve(job, wanted), lambda _error: None)
        task = self._worker.tasks.create_task(life)
        self._serving[job.id] = session, task

        def over(_task: asyncio.Task[None]) -> None:
            del self._serving[job.id]
            self._lines.free(session)

        task.add_done_callback(over)

    async def _serve(self, job: Job, wanted: Wanted) -> None:
        error = "failed"
        try:
            async with hold(self._worker.bus, job.room, wanted.room.sid, job.session, lambda: self._end(job.id)):
                await self._say(said.running(job.id))
                await self._rooms.attend(self._lines.answer, job)
                error = ""
            if not self._worker.draining:  # then others may go on with it
                self._forgotten.is_over(job.room, wanted.room.sid)
        except (Refused, OSError) as refused:
            error = str(refused)
            self._worker.counters["room_refused"] += 1
            log.warning("a room has no agent", room_job=job.id, session=job.session, why=error)
        finally:
            await self._say(said.done(job.id, error))
            if await self._keys.dismiss(job.room, agent_identity(job.session)):  # killed, and the server waits for it
                self._worker.counters["agent_dismissed"] += 1

    def _end(self, job: str) -> None:
        """The server closed the room, or took the agent out of it."""
        if job in self._serving:
            session, task = self._serving[job]
            if not self._lines.hang_up(session, "room_closed"):
                task.cancel()
