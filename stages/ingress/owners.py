"""The workers that own the stages of one session: claimed, started, watched, closed. The only writer of its epoch."""

import asyncio
import time

import msgspec

from bus.errors import BusError, NoResponders
from schemas import control, subjects
from schemas.agent import AgentDocument
from schemas.control import RoomAccess
from schemas.events import FAILED, CloseReason, Owner
from session.state import SessionState
from stages.runtime.inbox import Inbox
from stages.runtime.worker import Worker

CLAIM_WITHIN_S = 0.15  # a worker answers a claim before it connects anywhere
CLAIM_FOR_S = 3.0  # then the session is closed: nobody has room
CLAIM_PAUSE_S = 0.05
START_WITHIN_S = 20.0  # a provider that was not warm loads its models now, while the caller's audio waits
CLOSE_WITHIN_S = 2.5  # a stage flushes within 2 s
LOST_AFTER_S = 3.0  # no beat with this session in it


class CannotClaim(Exception):
    """No worker of a stage took the session; reason and message are for the caller."""

    def __init__(self, reason: CloseReason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class Owners:
    """Of the session `call`, which runs on `document`."""

    def __init__(self, worker: Worker, inbox: Inbox, document: AgentDocument, transport: str) -> None:
        self.epoch = inbox.context.epoch
        self._worker = worker
        self._call = inbox
        self._document = document
        self._transport = transport
        self._owners: dict[str, Owner] = {}
        self._seen: dict[str, float] = {}  # stage -> when a beat last named this session

    def of(self, stage: str) -> Owner | None:
        return self._owners.get(stage)

    def all(self) -> dict[str, Owner]:
        return dict(self._owners)

    async def claim(self, stage: str) -> Owner:
        """A worker of `stage` owns the session from now on. Raises CannotClaim."""
        deadline = time.monotonic() + CLAIM_FOR_S
        why = "none answered"
        while time.monotonic() < deadline:
            self.epoch += 1  # every attempt: a late winner then holds a dead epoch
            epoch = self.epoch
            request = control.ClaimStage(
                self._call.id, epoch, self._document.id, self._worker.id, self._transport, self._providers(stage)
            )
            try:
                data = control.encode(request)
                answer = await self._worker.bus.request(subjects.claim(stage), data, CLAIM_WITHIN_S)
                claimed = control.decode(answer, control.Claimed)
            except NoResponders:
                why = "none is running or has room"
            except BusError:
                why = f"none answered within {CLAIM_WITHIN_S * 1000:.0f} ms"
            else:
                if not claimed.refused:
                    return self._own(stage, Owner(claimed.worker, epoch))
                why = claimed.detail or claimed.refused
                if claimed.refused in ("provider_missing", "version"):
                    raise CannotClaim(claimed.refused, f'no worker of stage "{stage}" can take the call: {why}')
            await asyncio.sleep(CLAIM_PAUSE_S)
        raise CannotClaim("no_worker", f'no worker of stage "{stage}" can take the call: {why}: see `antiphon ps`')

    def _own(self, stage: str, owner: Owner) -> Owner:
        self._owners[stage] = owner
        self._call.gate.raise_minimum(stage, owner.epoch)
        self._seen[stage] = time.monotonic()
        return owner

    async def start(self, stage: str, state: SessionState, room: RoomAccess | None) -> None:
        """The owner of `stage` opens its provider, and has begun. Raises CannotClaim."""
        start = control.Start(
            session=self._call.id,
            epoch=self._owners[stage].epoch,
            config=self._document.model_dump(mode="json"),
            snapshot=msgspec.msgpack.encode(state),
            after=dict(state.after),
            room=room,
        )
        try:
            answer = await self._worker.bus.request(
                subjects.control(self._call.id, stage, "start"), control.encode(start), START_WITHIN_S
            )
        except BusError as error:
            raise CannotClaim(FAILED[stage], f'stage "{stage}" did not start: {error}') from None
        started = control.decode(answer, control.Started)
        if started.failed:
            raise CannotClaim(FAILED[stage], f'stage "{stage}" cannot take the call: {started.failed}')

    async def close(self, reason: CloseReason) -> None:
        """All of them flush and let go of the session, as far as they answer."""
        close = control.encode(control.Close(self._call.id, reason))
        await asyncio.gather(*(self._close(stage, close) for stage in self._owners))

    async def _close(self, stage: str, close: bytes) -> None:
        try:
            await self._worker.bus.request(subjects.control(self._call.id, stage, "close"), close, CLOSE_WITHIN_S)
        except BusError:
            self._worker.counters["stage_not_closed"] += 1

    def seen(self, stage: str, worker: str) -> None:
        """A beat of `worker` named this session."""
        if stage in self._owners and self._owners[stage].worker == worker:
            self._seen[stage] = time.monotonic()

    def lost(self) -> str:
        """A stage whose owner has fallen silent; "" if all are alive."""
        now = time.monotonic()
        return next((stage for stage, seen in self._seen.items() if now - seen > LOST_AFTER_S), "")

    def _providers(self, stage: str) -> tuple[str, ...]:
        choice = getattr(self._document, stage, None)
        return (choice.provider,) if choice else ()
