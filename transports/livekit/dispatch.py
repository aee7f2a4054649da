"""Takes LiveKit's jobs for rooms, over one connection of the worker protocol for each process.

Ingress reserves a slot before it accepts a job, so that it can answer at once. Sessions continue while the connection
is lost. A job for a room that is in service waits until that session is over (docs/livekit.md).
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection
from contextlib import suppress

import aiohttp
import structlog
from livekit.protocol.agent import AvailabilityRequest, JobAssignment, JobTermination

from schemas.control import RoomAccess
from transports.livekit import worker_protocol
from transports.livekit.identities import agent_identity, ingress_identity
from transports.livekit.metadata import read_metadata
from transports.livekit.registration import FAILURES, cause, receive, registered
from transports.livekit.room_lease import room_lease
from transports.livekit.room_reconciler import RoomReconciler
from transports.livekit.room_service import RoomService
from transports.livekit.settings import LiveKitSettings
from transports.livekit.tokens import Tokens
from transports.livekit.worker_protocol import RoomJob
from transports.transport import Arrival, Refused, RoomHost

STATUS_EVERY_S = 2.5
LOOK_EVERY_S = 0.1  # a change of load is reported within this time
ASSIGNED_WITHIN_S = 7.5  # after this the slot is free again
PAUSE_S, LONGEST_PAUSE_S = 2.0, 10.0  # before the next attempt to connect: longer after each failure

log = structlog.get_logger("dispatch")

# Serves the room of a job until its session is over. Returns LiveKit's ids of the people who are still in the room.
# Raises Refused or OSError, with a text for the log, if the session could not begin or continue.
ServeRoom = Callable[[RoomHost, RoomJob], Awaitable[Collection[str]]]


class Dispatch:
    """The jobs of one ingress worker. registered: set while the worker is registered.

    agent_name: "" takes every new room, a name those rooms that ask for it. default_agent: for a room that names none.
    """

    def __init__(
        self,
        host: RoomHost,
        settings: LiveKitSettings,
        serve_room: ServeRoom,
        agent_name: str,
        default_agent: str,
        registered: asyncio.Event,
    ) -> None:
        self._host = host
        self._url = settings.url
        self._tokens = Tokens(settings)
        self._service = RoomService(settings)
        self._serve_room = serve_room
        self._agent_name = agent_name
        self._default_agent = default_agent
        self._registered = registered
        self._reconciler = RoomReconciler(host.bus, self._service)
        self._socket: aiohttp.ClientWebSocketResponse | None = None
        self._offered: dict[str, str] = {}  # job -> session
        self._serving: dict[str, tuple[str, asyncio.Task[None]]] = {}  # job -> session, and the task that serves it
        self._failure = ""  # the last one that was logged

    async def run(self) -> None:
        """Take jobs until cancelled; connect again whenever the connection is lost."""
        failures = 0
        await self._reconciler.listen()
        try:
            async with aiohttp.ClientSession() as http:
                while True:
                    try:
                        async with registered(http, self._url, self._tokens.worker_token(), self._agent_name) as socket:
                            failures = 0
                            await self._receive(socket)
                    except FAILURES as error:
                        self._log_failure(cause(error))
                    self._socket = None
                    self._registered.clear()
                    self._offered.clear()  # the server forgets its offers, too
                    failures += 1
                    await asyncio.sleep(min(PAUSE_S * failures, LONGEST_PAUSE_S))
        finally:
            for session, task in self._serving.values():
                if not self._host.hang_up(session, "shutdown"):
                    task.cancel()

    # --- the connection -----------------------------------------------------------------------------------------------

    async def _receive(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket, self._failure = socket, ""
        self._registered.set()
        log.info("registered for rooms", url=self._url, agent_name=self._agent_name, worker=self._host.id)
        beside = [asyncio.create_task(self._report_status())]
        if not self._agent_name:  # a named worker serves only the rooms that ask for it
            beside.append(asyncio.create_task(self._reconciler.run()))
        try:
            while True:
                try:
                    message = await receive(socket)
                except worker_protocol.BadMessage:
                    self._host.count("bad_room_message")
                    continue
                match message:
                    case AvailabilityRequest():
                        await self._answer_offer(message.job.id)
                    case JobAssignment():
                        self._begin(message)
                    case JobTermination():
                        self._end(message.job_id)
                    case _:
                        pass
        finally:
            for task in beside:
                task.cancel()

    async def _report_status(self) -> None:
        reported: tuple[int, bool] | None = None
        at = 0.0
        while True:
            busy = self._host.busy
            now = busy, not self._host.draining and busy < self._host.capacity
            if now != reported or time.monotonic() - at > STATUS_EVERY_S:
                reported, at = now, time.monotonic()
                await self._send(worker_protocol.status(busy, self._host.capacity, available=now[1]))
            await asyncio.sleep(LOOK_EVERY_S)

    async def _send(self, message: bytes) -> None:
        """Send a message, or drop it without a connection: the server has then forgotten the job."""
        if self._socket is not None:
            with suppress(ConnectionError):
                await self._socket.send_bytes(message)

    def _log_failure(self, failure: str) -> None:
        """Log why no jobs come: once, and not at every attempt."""
        if failure != self._failure:
            self._failure = failure
            log.warning("no jobs for rooms, trying again", url=self._url, cause=failure, serving=len(self._serving))

    # --- jobs ---------------------------------------------------------------------------------------------------------

    async def _answer_offer(self, job: str) -> None:
        session = None if job in self._serving else self._host.reserve(ASSIGNED_WITHIN_S)
        if session is None:
            await self._send(worker_protocol.decline(job))
            return
        self._offered[job] = session
        asyncio.get_running_loop().call_later(ASSIGNED_WITHIN_S, self._forget_offer, job, session)
        await self._send(worker_protocol.accept(job, ingress_identity(session)))

    def _forget_offer(self, job: str, session: str) -> None:
        if self._offered.get(job) == session:
            del self._offered[job]

    def _begin(self, assignment: JobAssignment) -> None:
        room = assignment.job.room
        session = self._offered.pop(assignment.job.id, None)
        if session is None:
            self._host.count("job_too_late")
            return
        url = assignment.url or self._url
        metadata = read_metadata(assignment.job.metadata, room.metadata)
        agent = metadata.agent or self._default_agent
        job = RoomJob(assignment.job.id, room.name, room.sid, session, agent, url, assignment.token, metadata.fields)

        def access() -> RoomAccess:
            return RoomAccess(url, self._tokens.egress_token(job.room, session))

        arrival = Arrival(metadata.origin(job.room), metadata.refused, access)
        task = self._host.accept(session, agent, arrival, self._serve(job))
        self._serving[job.id] = session, task
        task.add_done_callback(lambda _task: self._serving.pop(job.id))

    async def _serve(self, job: RoomJob) -> None:
        error = "failed"
        try:
            async with room_lease(self._host.bus, job.room, job.room_id, job.session, lambda: self._end(job.id)):
                await self._send(worker_protocol.running(job.id))
                people = await self._serve_room(self._host, job)
                error = ""
            if not self._host.draining:  # other ingress workers may continue in the room
                self._reconciler.session_over(job.room, job.room_id, people)
        except (Refused, OSError) as refused:
            error = str(refused)
            self._host.count("room_refused")
            log.warning("a room has no agent", room_job=job.id, session=job.session, cause=error)
        finally:
            await self._send(worker_protocol.done(job.id, error))
            if await self._service.remove(job.room, agent_identity(job.session)):  # its process was killed
                self._host.count("agent_dismissed")

    def _end(self, job: str) -> None:
        """End a session whose room LiveKit has closed, or whose agent it has removed."""
        if job in self._serving:
            session, task = self._serving[job]
            if not self._host.hang_up(session, "room_closed"):
                task.cancel()
