"""The work of a stage that ingress claims (stt, llm, tts, egress): own a session from claim to close.

A claim is answered before any vendor connects: make room, subscribe, flush, answer. Then `start` brings the agent
document, the provider opens while audio waits, `Started` answers it, and the session lives until `close`, or until
nobody hears our beats for 5 s: no session outlives its coordinator.
"""

import asyncio
import time
from contextlib import AsyncExitStack
from typing import Generic, Literal, TypeVar

import structlog

from bus.connect import Subscription
from bus.heartbeats import EVERY_S, Heartbeats
from bus.message import Message
from schemas import control, events, subjects
from schemas.agent import AgentDocument
from stages.runtime.context import StageContext
from stages.runtime.inbox import Inbox, Overloaded
from stages.runtime.providers import Provider, ProviderError, ProviderMissing, Providers
from stages.runtime.stage import HasPlayhead, Stage, StageModule, handlers
from stages.runtime.worker import Worker
from transports.transport import Refused

START_WITHIN_S = 5.0  # a claim that no start follows was given to another: forget it
FLUSH_WITHIN_S = 2.0
ORPHANED_AFTER_S = 5.0

STAGE_FAILED: dict[str, type[events.StageFailed]] = {
    subjects.STT: events.SttStageFailed,
    subjects.LLM: events.LlmStageFailed,
    subjects.TTS: events.TtsStageFailed,
    subjects.EGRESS: events.EgressStageFailed,
}

P = TypeVar("P", bound=Provider)
Shared = TypeVar("Shared")

log = structlog.get_logger("stage")


class HostedSession:
    """A claimed session with what belongs to it in this worker."""

    def __init__(self, context: StageContext, claim: control.ClaimStage) -> None:
        self.session = context
        self.inbox = Inbox(context)
        self.providers = claim.providers
        self.subscriptions: list[Subscription] = []
        self.stage: Stage | None = None
        self.life: asyncio.Task[None] | None = None
        self.claimed_at = time.monotonic()

    @property
    def playhead(self) -> control.Playhead | None:
        """Return how far the caller has heard the turn; None for a stage that does not play."""
        return self.stage.playhead if isinstance(self.stage, HasPlayhead) else None


class StageHost(Generic[P, Shared]):
    """One claimed stage of a process; `module` is its `stage.py`."""

    def __init__(self, worker: Worker, module: StageModule[P, Shared], providers: Providers[P], shared: Shared) -> None:
        self._worker = worker
        self._module = module
        self._providers = providers
        self._shared = shared
        self._holdings: dict[str, HostedSession] = {}
        self._heartbeats = Heartbeats(worker.bus, worker.id)
        heard = set(handlers(module.STAGE))
        self._hears = sorted(
            {events.stage(event) for event in heard if event not in events.EPHEMERAL} | {subjects.INGRESS}
        )
        self._lives = sorted({events.stage(event) for event in heard if event in events.EPHEMERAL})

    # --- claim ------------------------------------------------------------------------------------------------------

    async def claimed(self, data: bytes) -> bytes:
        claim = control.decode(data, control.ClaimStage)
        for part_of_a_subject in (claim.session, claim.agent, claim.coordinator):
            subjects.check_id(part_of_a_subject)
        refused, detail = self._refusal(claim)
        if not refused:
            await self._make_room(claim)
        return control.encode(control.Claimed(self._worker.id, refused, detail))

    def _refusal(self, claim: control.ClaimStage) -> tuple[control.Refusal | None, str]:
        worker = self._worker
        if claim.version != control.VERSION:
            return "version", f"this worker speaks version {control.VERSION}, not {claim.version}"
        if worker.draining:
            return "draining", ""
        if worker.full:
            return "full", f"{worker.capacity} sessions"
        if not claim.providers:
            return None, ""
        first = claim.providers[0]
        try:
            self._providers.check(first)
        except ProviderMissing as missing:
            return "provider_missing", str(missing)
        provider = self._providers.opened(first)
        limit = provider.capacity if provider else None
        if limit is not None and sum(held.providers[:1] == (first,) for held in self._holdings.values()) >= limit:
            return "full", f"{first} carries {limit} sessions"
        return None, ""

    async def _make_room(self, claim: control.ClaimStage) -> None:
        worker = self._worker
        await self._close(self._holdings.get(claim.session))  # asked again: an earlier answer came too late
        session = StageContext(
            worker.stage, claim.session, claim.agent, claim.epoch, worker, self._module.STAGE.publishes
        )
        session.coordinator = claim.coordinator
        session.transport = claim.transport
        holding = self._holdings[session.id] = HostedSession(session, claim)
        worker.admit(holding.inbox)
        holding.subscriptions = await worker.listen(holding.inbox, self._hears, self._lives)
        holding.subscriptions.append(
            await worker.bus.subscribe(subjects.controls(session.id, worker.stage), self._on_control)
        )
        await worker.bus.flush(media=False)  # ingress waits 150 ms for the answer
        if self._holdings.get(session.id) is not holding:  # asked again meanwhile
            await _unsubscribe(holding)

    # --- start and close ---------------------------------------------------------------------------------------------

    def _on_control(self, message: Message) -> None:
        holding = self._holdings.get(message.subject.split(".")[2])
        verb = subjects.last_token(message.subject)
        if verb == "close":
            self._worker.tasks.create_task(self._close(holding, message.reply))
        elif verb == "start" and holding is not None:
            try:
                start = control.decode(message.data, control.Start)
            except control.BadMessage:
                self._worker.counters["bad_control"] += 1
                return
            if start.epoch > holding.session.epoch:  # our answer came too late and another was asked
                self._worker.tasks.create_task(self._close(holding))
            elif start.epoch == holding.session.epoch and holding.life is None:
                holding.life = self._worker.tasks.create_task(self._live(holding, start, message.reply))

    async def _live(self, holding: HostedSession, start: control.Start, reply: str) -> None:
        session = holding.session
        answered = False

        def answer(failed: str = "") -> None:
            nonlocal answered
            if not answered:
                answered = True
                self._worker.bus.publish(reply, control.encode(control.Started(self._worker.id, failed)))

        def gave_up(error: BaseException) -> None:
            reason, detail = _told(error)
            answer(detail or reason)
            session.publish(STAGE_FAILED[session.stage](reason=reason, detail=detail))

        async def life() -> None:
            session.agent = AgentDocument.model_validate(start.config)
            holding.inbox.gate.start_after(start.after)
            session.snapshot = start.snapshot
            session.room = start.room
            async with AsyncExitStack() as stack:
                opening = self._module.open_session(session, self._shared)
                holding.stage = await stack.enter_async_context(opening)
                answer()
                await holding.inbox.run(holding.stage)

        try:
            await self._worker.contain(session.id, life(), gave_up)
        finally:
            await self._forget(holding)

    async def _close(self, holding: HostedSession | None, reply: str = "") -> None:
        """Flush and forget; what is forgotten already is closed."""
        if holding is not None:
            holding.inbox.close()
            if holding.life is not None:
                await self._finish(holding.life)
            await self._forget(holding)
        if reply:
            self._worker.bus.publish(reply, control.encode(control.Closed(self._worker.id)))

    async def _finish(self, life: asyncio.Task[None]) -> None:
        done, _ = await asyncio.wait([life], timeout=FLUSH_WITHIN_S)
        if not done:
            life.cancel()
            self._worker.counters["closed_by_force"] += 1
            await asyncio.wait([life], timeout=FLUSH_WITHIN_S)

    async def end(self, session: str) -> None:
        if session in self._holdings:
            await self._close(self._holdings[session])

    async def _forget(self, holding: HostedSession) -> None:
        if self._holdings.get(holding.session.id) is not holding:
            return
        del self._holdings[holding.session.id]
        self._worker.release(holding.inbox)
        await _unsubscribe(holding)

    # --- beats --------------------------------------------------------------------------------------------------------

    async def attend(self) -> None:
        await self._heartbeats.open()
        due = time.monotonic()
        while True:
            self._beat()
            due = max(due + EVERY_S, time.monotonic())
            await asyncio.sleep(due - time.monotonic())

    def _beat(self) -> None:
        served: dict[str, list[HostedSession]] = {}
        now = time.monotonic()
        for holding in self._holdings.values():
            served.setdefault(holding.session.coordinator, []).append(holding)
            if holding.life is None and now - holding.claimed_at > START_WITHIN_S:
                self._worker.tasks.create_task(self._close(holding))
        for coordinator, holdings in served.items():
            playheads = {held.session.id: head for held in holdings if (head := held.playhead) is not None}
            beat = control.Heartbeat(
                self._worker.id,
                self._worker.stage,
                [held.session.id for held in holdings],
                playheads,
                time.time_ns() // 1_000,
            )
            self._heartbeats.send(coordinator, control.encode(beat))
            if self._heartbeats.undelivered_s(coordinator) > ORPHANED_AFTER_S:
                log.warning("coordinator is gone", coordinator=coordinator, sessions=len(holdings))
                self._worker.counters["orphaned"] += len(holdings)
                self._heartbeats.forget(coordinator)
                for holding in holdings:
                    self._worker.tasks.create_task(self._close(holding))

    def describe(self, session: Inbox) -> control.WorkerSession:
        age_s = round(time.monotonic() - session.opened_at, 1)
        return control.WorkerSession(session.id, session.context.agent_id, session.context.epoch, age_s)


async def _unsubscribe(holding: HostedSession) -> None:
    for subscription in holding.subscriptions:
        await subscription.unsubscribe()


def _told(error: BaseException) -> tuple[Literal["overloaded", "failed"], str]:
    """reason and detail for others: only what is known to hold no secret and no speech."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, Overloaded):
        return "overloaded", str(error)
    if isinstance(error, ProviderError | ProviderMissing | Refused):
        return "failed", str(error)
    return "failed", f"{type(error).__name__} in this stage: see its log"
