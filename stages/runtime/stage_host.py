"""The role of a worker whose stage ingress claims (stt, llm, tts, egress): host sessions from claim to close.

A claim is answered before any provider connects: register, subscribe, flush, answer. `start` brings the agent document;
the provider opens while audio waits, and `Started` answers. The session lives until `close`, or until its coordinator
has received no heartbeat for 5 s: no session outlives its coordinator.

Each claim, `start` and `close` gets one answer. A `start` of a newer epoch belongs to another worker, which answers it.
"""

import asyncio
import time
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from functools import partial
from typing import Generic, TypeVar

import structlog

from bus.errors import BusError, NoResponders
from bus.heartbeats import EVERY_S, Heartbeats
from bus.message import Message
from schemas import control, events, subjects
from schemas.agent import AgentDocument
from session.state import load
from stages.runtime.context import StageContext
from stages.runtime.hosted_session import HostedSession, OpeningTimeout, failure
from stages.runtime.inbox import BeyondCut, Inbox
from stages.runtime.providers import Provider, ProviderMissing, Providers
from stages.runtime.stage import StageModule, handlers
from stages.runtime.worker import Worker

START_WITHIN_S = 5.0  # ingress gave a claim without a start to another worker: forget it
OPEN_WITHIN_S = 18.0  # ingress waits 20 s for `Started`; a provider that was not warm loads its model meanwhile
FLUSH_WITHIN_S = 2.0  # ingress waits 2.5 s for `Closed`
ORPHANED_AFTER_S = 5.0
REPORTS, REPORT_EVERY_S = 30, 1.0  # of an orphaned session, until an ingress takes it up
HANDED_OVER_WITHIN_S = 2.0  # after the request: ingress answers within milliseconds, and the stage closes within 2 s
LOOK_EVERY_S = 0.05  # for a turn boundary, while a worker drains

REPLACED = "this claim was replaced, forgotten or closed: claim again"

STAGE_FAILED: dict[str, type[events.StageFailed]] = {
    events.stage(event): event for event in events.EVENTS if issubclass(event, events.StageFailed)
}

P = TypeVar("P", bound=Provider)
Shared = TypeVar("Shared")

log = structlog.get_logger("stage")


class StageHost(Generic[P, Shared]):
    """The sessions of one claimed stage in this process. module: its `stage.py`. shared: what `open_worker` yielded."""

    def __init__(self, worker: Worker, module: StageModule[P, Shared], providers: Providers[P], shared: Shared) -> None:
        self._worker = worker
        self._module = module
        self._providers = providers
        self._shared = shared
        self._hosted: dict[str, HostedSession] = {}
        self._leaving: dict[str, HostedSession] = {}  # ended; answers until the server delivers no more control
        self._heartbeats = Heartbeats(worker.bus, worker.id)
        handled = set(handlers(module.STAGE))
        kept = {event for event in handled if event not in events.EPHEMERAL}
        self._publishers = sorted({events.stage(event) for event in kept} | {subjects.INGRESS})
        self._ephemeral_publishers = sorted({events.stage(event) for event in handled - kept})

    # --- claim ------------------------------------------------------------------------------------------------------

    def answer_claim(self, data: bytes) -> Coroutine[object, None, bytes]:
        """Host the session or refuse it, at once; the answer follows when the session is subscribed.

        Raises BadMessage or BadId.
        """
        claim = control.decode(data, control.ClaimStage)
        for part_of_a_subject in (claim.session, claim.agent, claim.coordinator):
            subjects.check_id(part_of_a_subject)
        refused, detail = self._refusal(claim)
        return self._refuse(refused, detail) if refused else self._accept(self._register(claim))

    async def _accept(self, hosted: HostedSession) -> bytes:
        await self._subscribe(hosted)
        if hosted.ending or self._hosted.get(hosted.id) is not hosted:
            return await self._refuse("superseded", "a newer claim or a close came meanwhile")
        cold = bool(hosted.provider) and self._providers.opened(hosted.provider) is None
        return self._claimed(None, "", cold=cold)

    async def _refuse(self, refused: control.Refusal, detail: str) -> bytes:
        return self._claimed(refused, detail)

    def _claimed(self, refused: control.Refusal | None, detail: str, *, cold: bool = False) -> bytes:
        return control.encode(control.Claimed(self._worker.id, refused, detail, time.time_ns() // 1_000, cold))

    def _refusal(self, claim: control.ClaimStage) -> tuple[control.Refusal | None, str]:
        worker = self._worker
        earlier = self._hosted.get(claim.session)
        if claim.version != control.VERSION:
            return "version", f"this worker speaks version {control.VERSION}, not {claim.version}"
        if worker.draining:
            return "draining", ""
        newest = earlier or self._leaving.get(claim.session)
        if newest and newest.epoch >= claim.epoch:
            return "superseded", f"this worker accepted the session at epoch {newest.epoch}"
        if worker.full and not earlier:
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
        others = [hosted for hosted in self._hosted.values() if hosted.provider == first and hosted is not earlier]
        if limit is not None and len(others) >= limit:
            return "full", f"{first} carries {limit} sessions"
        return None, ""

    def _register(self, claim: control.ClaimStage) -> HostedSession:
        """Host the session from now on, before anything is awaited: no older claim can overwrite a newer one."""
        worker = self._worker
        publishes = self._module.STAGE.publishes
        context = StageContext(worker.stage, claim.session, claim.agent, claim.epoch, worker, publishes)
        context.coordinator = claim.coordinator
        context.transport = claim.transport
        hosted = HostedSession(context, claim.providers)
        earlier = self._hosted.get(claim.session)
        if before := earlier or self._leaving.get(claim.session):
            hosted.take_over(before)
        if hosted.listening is None:
            every_verb = subjects.controls(claim.session, worker.stage)
            hosted.listening = worker.spawn(worker.bus.subscribe(every_verb, self._on_control))
        self._hosted[hosted.id] = hosted
        worker.admit(hosted.inbox)
        if earlier:
            earlier.move()
            worker.spawn(self._close(earlier))
        return hosted

    async def _subscribe(self, hosted: HostedSession) -> None:
        worker = self._worker
        hosted.subscriptions = await worker.listen(hosted.inbox, self._publishers, self._ephemeral_publishers)
        if hosted.listening is not None:
            await hosted.listening
        await worker.bus.flush(media=False)  # ingress waits 150 ms for the answer
        if hosted.ended:
            await self._unsubscribe(hosted)

    # --- start, release and close -----------------------------------------------------------------------------------

    def _on_control(self, message: Message) -> None:
        session = message.subject.split(".")[2]
        hosted = self._hosted.get(session) or self._leaving.get(session)
        if hosted is None:
            return
        verb = subjects.last_token(message.subject)
        try:
            if verb == "start":
                self._start(hosted, control.decode(message.data, control.Start), message.reply)
            elif verb == "release":
                self._release(hosted, control.decode(message.data, control.Release))
            elif verb == "close" and not hosted.moved:
                self._worker.spawn(self._close(hosted, message.reply))
        except control.BadMessage:
            self._worker.counters["bad_control"] += 1

    def _start(self, hosted: HostedSession, start: control.Start, reply: str) -> None:
        if start.epoch > hosted.epoch:  # ingress claimed another worker, which answers
            hosted.move()
            self._worker.spawn(self._close(hosted))
        elif start.epoch < hosted.epoch or hosted.ending or hosted.ended:
            self._worker.bus.publish(reply, control.encode(control.Started(self._worker.id, REPLACED, reclaim=True)))
        elif hosted.stage is not None:
            self._worker.bus.publish(reply, control.encode(control.Started(self._worker.id)))
        else:
            hosted.waiting.append(reply)
            if hosted.life is None:
                hosted.life = self._worker.spawn(self._live(hosted, start))

    def _release(self, hosted: HostedSession, release: control.Release) -> None:
        """Drop a claim: another worker answered first, or is to take the session over."""
        if hosted.epoch <= release.epoch:
            hosted.move()
            self._worker.spawn(self._close(hosted))

    async def _live(self, hosted: HostedSession, start: control.Start) -> None:
        try:
            await self._worker.contain(hosted.id, self._run_to_end(hosted, start), partial(self._fail, hosted))
        finally:
            self._answer_replaced(hosted)  # it was closed while it opened
            self._forget(hosted)

    async def _run_to_end(self, hosted: HostedSession, start: control.Start) -> None:
        try:
            await self._run(hosted, start)
        except BeyondCut:
            self._worker.counters["beyond_cut"] += 1
            hosted.move()
            self._leave(hosted)

    def _leave(self, hosted: HostedSession) -> None:
        """Have ingress claim a worker for the session, perhaps this one again."""
        unknown = control.Unknown(self._worker.id, hosted.id)
        self._worker.bus.publish(subjects.control(hosted.id, self._worker.stage, "unknown"), control.encode(unknown))

    async def _run(self, hosted: HostedSession, start: control.Start) -> None:
        context = hosted.context
        context.agent = AgentDocument.model_validate(start.config)
        context.snapshot = start.snapshot
        context.room = start.room
        hosted.inbox.start_from(start.after, load(start.snapshot).owners)
        async with AsyncExitStack() as stack:
            opening = self._module.open_session(context, self._shared)
            try:
                async with asyncio.timeout(OPEN_WITHIN_S) as deadline:
                    stage = await stack.enter_async_context(opening)
            except TimeoutError:
                if not deadline.expired():
                    raise
                raise OpeningTimeout(f"cannot open the stage: not ready within {OPEN_WITHIN_S:g} s") from None
            hosted.opened(stage)
            hosted.answer_starts(self._worker.bus, control.Started(self._worker.id))
            await hosted.inbox.run(stage)

    def _fail(self, hosted: HostedSession, error: BaseException) -> None:
        reason, detail = failure(error)
        hosted.answer_starts(self._worker.bus, control.Started(self._worker.id, detail or reason))
        hosted.context.publish(STAGE_FAILED[self._worker.stage](reason=reason, detail=detail))

    def _answer_replaced(self, hosted: HostedSession) -> None:
        hosted.answer_starts(self._worker.bus, control.Started(self._worker.id, REPLACED, reclaim=True))

    async def _close(self, hosted: HostedSession, reply: str = "") -> None:
        """Flush and forget a session; one that has ended is closed already."""
        hosted.ending = True
        hosted.inbox.close()
        self._answer_replaced(hosted)
        if hosted.life is not None:
            await self._finish(hosted, hosted.life)
        self._forget(hosted)
        if reply:
            self._worker.bus.publish(reply, control.encode(control.Closed(self._worker.id)))

    async def _finish(self, hosted: HostedSession, life: asyncio.Task[None]) -> None:
        if hosted.stage is None:  # it is opening and has nothing to flush
            life.cancel()
        done, _ = await asyncio.wait([life], timeout=FLUSH_WITHIN_S)
        if not done:
            life.cancel()
            self._worker.counters["closed_by_force"] += 1
            await asyncio.wait([life], timeout=FLUSH_WITHIN_S)

    async def drain(self, within_s: float) -> None:
        """Hand every session over to another worker: at its next turn boundary, or when `within_s` are over.

        Ingress answers with `release`, or with the `start` of the next owner; either closes the session here.
        """
        clock = asyncio.get_running_loop().time
        until_s = clock() + within_s
        asked: set[str] = set()
        while self._hosted and clock() < until_s + HANDED_OVER_WITHIN_S:
            for hosted in list(self._hosted.values()):
                if hosted.id not in asked and hosted.life is not None and (hosted.idle or clock() >= until_s):
                    asked.add(hosted.id)
                    self._leave(hosted)
            await asyncio.sleep(LOOK_EVERY_S)

    async def end_session(self, session: str) -> None:
        """Close a session because the worker stops; ingress claims another worker for it."""
        if hosted := self._hosted.get(session):
            hosted.move()
            await self._close(hosted)

    def _forget(self, hosted: HostedSession) -> None:
        if hosted.ended:
            return
        hosted.ended = True
        hosted.inbox.close()
        self._worker.release(hosted.inbox)
        if self._hosted.get(hosted.id) is hosted:
            del self._hosted[hosted.id]
            self._leaving[hosted.id] = hosted
        self._worker.spawn(self._unsubscribe(hosted))

    async def _unsubscribe(self, hosted: HostedSession) -> None:
        """Drop the event subscriptions; drain control, so that a message on its way is answered."""
        listening, hosted.listening = hosted.listening, None  # a newer claim subscribes anew from now on
        if listening is not None:
            await (await listening).drain()
        while hosted.subscriptions:
            await hosted.subscriptions.pop().unsubscribe()
        if self._leaving.get(hosted.id) is hosted:
            del self._leaving[hosted.id]

    # --- heartbeats -------------------------------------------------------------------------------------------------

    async def serve(self) -> None:
        """Send heartbeats and forget claims without a start, until cancelled."""
        await self._heartbeats.open()
        clock = asyncio.get_running_loop().time
        due_s = clock()
        while True:
            self._forget_unstarted()
            self._send_heartbeats()
            due_s = max(due_s + EVERY_S, clock())
            await asyncio.sleep(due_s - clock())

    def _forget_unstarted(self) -> None:
        now_s = asyncio.get_running_loop().time()
        for hosted in list(self._hosted.values()):
            if hosted.life is None and now_s - hosted.claimed_s > START_WITHIN_S:
                self._forget(hosted)

    def _send_heartbeats(self) -> None:
        by_coordinator: dict[str, list[HostedSession]] = {}
        for hosted in self._hosted.values():
            by_coordinator.setdefault(hosted.context.coordinator, []).append(hosted)
        for coordinator, sessions in by_coordinator.items():
            heartbeat = control.Heartbeat(
                self._worker.id,
                self._worker.stage,
                [hosted.id for hosted in sessions],
                {hosted.id: playhead for hosted in sessions if (playhead := hosted.playhead) is not None},
                time.time_ns() // 1_000,
            )
            self._heartbeats.send(coordinator, control.encode(heartbeat))
            if self._heartbeats.undelivered_s(coordinator) > ORPHANED_AFTER_S:
                log.warning("coordinator is gone", coordinator=coordinator, sessions=len(sessions))
                self._worker.counters["orphaned"] += len(sessions)
                self._heartbeats.forget(coordinator)
                for hosted in sessions:
                    self._worker.spawn(self._abandon(hosted))

    async def _abandon(self, hosted: HostedSession) -> None:
        """Close a session whose coordinator is gone, and have another ingress publish its end."""
        await self._close(hosted)
        context = hosted.context
        orphaned = control.encode(control.Orphaned(context.id, context.agent_id, context.coordinator))
        for _ in range(REPORTS):
            if self._worker.draining:
                return
            try:
                await self._worker.bus.request(subjects.orphaned(context.id), orphaned, REPORT_EVERY_S)
                return
            except NoResponders:  # no ingress runs now; `antiphon up` starts one again
                await asyncio.sleep(REPORT_EVERY_S)
            except BusError:
                continue

    def describe(self, session: Inbox) -> control.WorkerSession:
        """Return the row of a session in `antiphon ps`."""
        context = session.context
        return control.WorkerSession(context.id, context.agent_id, context.epoch, round(session.age_s, 1))
