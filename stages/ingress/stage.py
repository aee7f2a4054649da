"""The front of a worker of ingress: gives lines to callers, and knows which of its sessions are alive."""

import asyncio
import time

import msgspec

from bus.beats import EVERY_S
from config_service.client import ConfigClient, UnknownAgent
from schemas import control, subjects
from schemas.control import WorkerSession
from schemas.subjects import BadId, check_id
from stages.ingress.coordinator import Coordinator
from stages.session import Session
from stages.worker import Worker
from transports import null
from transports.door import Refused, Sink
from transports.websocket import call_url

RESERVED_S = 10.0  # a claimed line that nobody calls is given up
FIRST_EPOCH = 1  # ingress speaks at this; every claim of a stage raises it

STAGE = Coordinator


class Ingress:
    """The work of an ingress worker, whose `url` says where its websocket door is."""

    def __init__(self, worker: Worker, config: ConfigClient) -> None:
        self._worker = worker
        self._config = config
        self._calls: dict[str, Coordinator] = {}
        self._reserved: dict[str, tuple[str, float]] = {}

    # --- lines ------------------------------------------------------------------------------------------------------

    async def claimed(self, data: bytes) -> bytes:
        asked = msgspec.msgpack.decode(data, type=control.ClaimLine)
        return msgspec.msgpack.encode(await self._line(asked))

    async def _line(self, asked: control.ClaimLine) -> control.Line:
        if asked.version != control.VERSION:
            return control.Line(refused="version", detail=f"this ingress speaks version {control.VERSION}")
        if self._worker.draining or self._full:
            return control.Line(refused="full", detail="this ingress has no line free")
        try:
            await self._config.get(check_id(asked.agent, "agent id"))
        except (UnknownAgent, BadId) as unknown:
            return control.Line(refused="unknown_agent", detail=str(unknown))
        session = subjects.new_id()
        self._reserved[session] = (asked.agent, time.monotonic() + RESERVED_S)
        if asked.transport == "null":
            self._worker.tasks.create_task(null.call(self.answer, asked.agent, session, asked.pattern))
        return control.Line(session, call_url(self._worker.url, asked.agent, session))

    async def answer(self, agent: str, session: str | None, transport: str, sink: Sink) -> Coordinator:
        """A caller is there: open a session for it. Raises Refused."""
        try:
            agent = check_id(agent, "agent id")
            if session is not None and self._reserved.pop(check_id(session, "session id"), ("",))[0] != agent:
                raise Refused(f"session {session} was not claimed here, or too long ago: claim a line again")
            if self._worker.draining or (session is None and self._full):
                raise Refused("no line is free here: try again in a moment")
            runtime = await self._config.get(agent)
        except (UnknownAgent, BadId) as unknown:
            raise Refused(str(unknown)) from None
        call = Session(subjects.INGRESS, session or subjects.new_id(), agent, FIRST_EPOCH, self._worker)
        call.agent = runtime.document
        coordinator = Coordinator(self._worker, call, runtime.document, transport, sink)
        self._calls[call.id] = coordinator
        self._worker.admit(call)
        self._worker.tasks.create_task(self._serve(call, coordinator))
        return coordinator

    async def _serve(self, call: Session, coordinator: Coordinator) -> None:
        subscriptions = await self._worker.listen(call, subjects.CLAIMED)
        await self._worker.bus.flush(media=False)
        try:
            await self._worker.contain(call, coordinator.run(), lambda _error: None)
        finally:
            del self._calls[call.id]
            self._worker.release(call)
            for subscription in subscriptions:
                await subscription.unsubscribe()

    async def end(self, session: str) -> None:
        if session in self._calls:
            self._calls[session].hang_up("shutdown")
            while session in self._calls:
                await asyncio.sleep(EVERY_S / 2)

    @property
    def _full(self) -> bool:
        return len(self._worker.sessions) + len(self._reserved) >= self._worker.capacity

    # --- liveness ---------------------------------------------------------------------------------------------------

    async def attend(self) -> None:
        await self._worker.bus.subscribe(subjects.beats_to(self._worker.id), self._on_beat)
        await self._worker.bus.subscribe(subjects.unknowns(), self._on_unknown)
        while True:
            await asyncio.sleep(EVERY_S)
            now = time.monotonic()
            for coordinator in list(self._calls.values()):
                coordinator.check()
            for session, (_agent, until) in list(self._reserved.items()):
                if until < now:
                    del self._reserved[session]

    def _on_beat(self, _subject: str, data: bytes, _reply: str) -> None:
        try:
            beat = msgspec.msgpack.decode(data, type=control.Beat)
        except msgspec.MsgspecError:
            self._worker.counters["bad_beat"] += 1
            return
        for session in beat.sessions:
            if session in self._calls:
                self._calls[session].seen(beat.stage, beat.worker)

    def _on_unknown(self, subject: str, _data: bytes, _reply: str) -> None:
        if subject.split(".")[2] in self._calls:
            self._worker.counters["unknown_to_owner"] += 1

    def describe(self, session: Session) -> WorkerSession:
        age_s = round(time.monotonic() - session.opened_at, 1)
        call = self._calls[session.id]
        return WorkerSession(session.id, session.agent_id, call.epoch, age_s, call.owners())
