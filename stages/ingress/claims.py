"""Performs what the owner machines of one session decide, over the bus: claims, starts, pings, releases and closes.

Requests are plain publishes with a reply subject, so that an answer counts even when it comes late, and no task waits.
"""

import asyncio
import time
from typing import Protocol

from schemas import control, subjects
from schemas.agent import ProviderChoice
from schemas.control import Playhead, RoomAccess
from schemas.events import CloseReason, Owner
from session.state import SessionState, dump, locate
from stages.ingress import answers
from stages.ingress import owner_states as owners
from stages.ingress.clock_offsets import ClockOffsets
from stages.ingress.owner_states import Action, OwnerInput
from stages.ingress.owners import Owners
from stages.runtime.inbox import Inbox
from stages.runtime.worker import Worker

CLOSE_WITHIN_S = 2.5  # a stage flushes within 2 s
OFFLINE_S = 0.05  # between two looks at a lost connection to NATS
OFFLINE_FOR_MS = 20_000  # as long as a stage may be without an owner; the caller hears nothing meanwhile
CLOSE_UNOPENED_WITHIN_S = 0.5  # before `session_opened` there is nothing to flush, and a worker may be frozen


class Session(Protocol):
    """What the claims need of the session's coordinator."""

    @property
    def state(self) -> SessionState:
        """The snapshot that a new owner starts from."""

    def access(self, stage: str) -> RoomAccess | None:
        """How the owner of `stage` enters the caller's room, None if it does not."""

    @property
    def forwarded(self) -> Playhead | None:
        """The position behind the last frame that ingress passed to the caller; None where it passes no frames."""

    @property
    def replay_from(self) -> int:
        """The first sample of the caller's audio that a new owner of stt needs."""

    def note_stt(self) -> None:
        """Note that the owner of stt is alive: it has the caller's audio so far."""

    def replay(self, owner: Owner) -> None:
        """Send the new owner of stt the caller's audio from the replay buffer."""

    def change_owner(self, stage: str, owner: Owner) -> None:
        """Publish that `owner` replaces an earlier owner of `stage`."""

    def hang_up(self, reason: CloseReason, detail: str) -> None:
        """End the session."""


class Claims:
    """The claims of one session. Every method is called on the event loop; none of them but `close` waits."""

    def __init__(
        self,
        worker: Worker,
        inbox: Inbox,
        session: Session,
        answers_to: str,
        offsets: ClockOffsets,
        transport: str,
    ) -> None:
        """answers_to: a subject prefix on which ingress receives answers and gives them to `on_answer`."""
        context = inbox.context
        self.owners = Owners(subjects.CLAIMED, context.epoch)
        self._worker = worker
        self._context = context
        self._gate = inbox.gate
        self._session = session
        self._answers_to = f"{answers_to}.{context.id}"
        self._offsets = offsets
        self._transport = transport
        self._heartbeats: dict[str, tuple[str, int]] = {}  # stage -> worker and time of the last one
        self._playhead: Playhead | None = None
        self._claimed_us: dict[int, int] = {}  # epoch -> when its claim was sent
        self._timer: asyncio.TimerHandle | None = None
        self._due_ms = 0
        self._opened = False
        self._offline_since_ms: int | None = None
        self._changed = asyncio.Event()
        self._closed: set[str] = set()  # stages whose owner has answered `close`

    # --- the opening and the end --------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Claim a worker of every stage."""
        self._perform(self.owners.begin(self._now_ms()))

    async def started(self) -> None:
        """Return when every stage has an owner that has started."""
        while not self.owners.started:
            self._changed.clear()
            await self._changed.wait()

    def opened(self) -> None:
        """`session_opened` was published."""
        self._opened = True
        self._perform(self.owners.tell_all(owners.Opened(), self._now_ms()))

    async def close(self, reason: CloseReason) -> None:
        """Send every stage `close` and wait until each started owner has flushed, at most CLOSE_WITHIN_S."""
        waiting = self.owners.started_stages
        self._perform(self.owners.tell_all(owners.Ended(), self._now_ms()))
        close = control.encode(control.Close(self._context.id, reason))
        for stage in subjects.CLAIMED:
            self._send(stage, "close", 0, subjects.control(self._context.id, stage, "close"), close)
        try:
            async with asyncio.timeout(CLOSE_WITHIN_S if self._opened else CLOSE_UNOPENED_WITHIN_S):
                while not waiting <= self._closed:
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            self._worker.counters["stage_not_closed"] += len(waiting - self._closed)

    # --- what comes in ------------------------------------------------------------------------------------------------

    def on_heartbeat(self, stage: str, worker: str, playhead: Playhead | None = None) -> None:
        """Note a heartbeat that names this session. The machine learns of it before its next deadline.

        playhead: of egress; kept for the next owner of egress.
        """
        owner = self.owners.of(stage)
        if owner and owner.worker == worker:
            self._heartbeats[stage] = worker, self._now_ms()
            self._playhead = playhead or self._playhead
            if stage == subjects.STT:
                self._session.note_stt()

    @property
    def playhead(self) -> Playhead | None:
        """How far the caller has heard the agent, for the next owner of egress; None before the first heartbeat."""
        return self._session.forwarded or self._playhead

    def on_unknown(self, stage: str, worker: str) -> None:
        """Note that `worker` does not serve this session."""
        self._tell(stage, owners.Unknown(worker))

    def on_answer(self, stage: str, verb: str, epoch: int, data: bytes) -> None:
        """Handle an answer; empty `data` is the server's 503. Raises BadMessage."""
        match verb:
            case "claim":
                self._note_clock(epoch, data)
                self._tell(stage, answers.of_claim(epoch, data))
            case "start":
                self._tell(stage, answers.of_start(epoch, data))
            case "ping":
                self._tell(stage, answers.of_ping(self._context.id, epoch, data))
            case "close":
                self._closed.add(stage)
                self._changed.set()

    def _note_clock(self, epoch: int, data: bytes) -> None:
        sent_us = self._claimed_us.pop(epoch, None)
        claimed = control.decode(data, control.Claimed) if data else None
        if claimed and claimed.time and sent_us:
            self._offsets.note(claimed.worker, claimed.time, utc_us(), sent_us)

    # --- what goes out ------------------------------------------------------------------------------------------------

    def _tell(self, stage: str, event: OwnerInput) -> None:
        self._perform(self.owners.tell(stage, event, self._now_ms()))

    def _perform(self, actions: list[tuple[str, Action]]) -> None:
        for stage, action in actions:
            self._perform_one(stage, action)
        self._arm()
        self._changed.set()

    def _perform_one(self, stage: str, action: Action) -> None:
        session, context = self._session, self._context
        match action:
            case owners.Claim(epoch):
                self._claimed_us[epoch] = utc_us()
                self._send(stage, "claim", epoch, subjects.claim(stage), control.encode(self._claim(stage, epoch)))
            case owners.Release(epoch):
                release = control.encode(control.Release(context.id, epoch))
                self._worker.bus.publish(subjects.control(context.id, stage, "release"), release)
            case owners.OwnerChanged(owner):
                session.change_owner(stage, owner)
            case owners.Replay(owner):
                self._gate.raise_minimum(stage, owner.epoch)
                if stage == subjects.STT:
                    session.replay(owner)
            case owners.Start(owner):
                start = control.encode(self._start(stage, owner))
                self._send(stage, "start", owner.epoch, subjects.control(context.id, stage, "start"), start)
            case owners.Ping(owner):
                self._send(stage, "ping", owner.epoch, subjects.worker(owner.worker), b"")
            case owners.GiveUp():
                session.hang_up(*answers.given_up(stage, action))

    def _claim(self, stage: str, epoch: int) -> control.ClaimStage:
        context = self._context
        choice: ProviderChoice | None = getattr(context.agent, stage, None)  # egress has no provider
        providers = tuple(one.provider for one in choice.chain) if choice else ()
        return control.ClaimStage(context.id, epoch, context.agent_id, self._worker.id, self._transport, providers)

    def _start(self, stage: str, owner: Owner) -> control.Start:
        playhead = self.playhead
        return control.Start(
            session=self._context.id,
            epoch=owner.epoch,
            config=self._context.agent.model_dump(mode="json"),
            snapshot=dump(locate(self._session.state, playhead) if playhead else self._session.state),
            after=dict(self._session.state.after),
            room=self._session.access(stage),
            replay_from=self._session.replay_from if stage == subjects.STT else 0,
            playhead=playhead if stage == subjects.EGRESS else None,
        )

    def _send(self, stage: str, verb: str, epoch: int, subject: str, data: bytes) -> None:
        self._worker.bus.publish(subject, data, f"{self._answers_to}.{stage}.{verb}.{epoch}")

    # --- time ---------------------------------------------------------------------------------------------------------

    def _now_ms(self) -> int:
        return self._context.now_ms()

    def _arm(self) -> None:
        """Wake up at the next deadline. A later deadline waits for the timer that runs: heartbeats move it often."""
        due_ms = self.owners.deadline_ms
        if self._timer and (due_ms is None or due_ms < self._due_ms):
            self._timer.cancel()
            self._timer = None
        if due_ms is not None and self._timer is None:
            self._due_ms = due_ms
            wait_s = max(0, due_ms - self._now_ms()) / 1000
            self._timer = asyncio.get_running_loop().call_later(wait_s, self._context.lifetime.guard, self._wake)

    def _wake(self) -> None:
        self._timer = None
        if not self._worker.bus.connected:  # no owner can be heard: ask again when the connection is back
            self._wait_for_connection()
            return
        if self._offline_since_ms is not None:  # the owners connect again at the same time as this worker
            self._offline_since_ms = None
            for stage, owner in self.owners.all().items():
                self._heartbeats[stage] = owner.worker, self._now_ms()
        heartbeats, self._heartbeats = self._heartbeats, {}
        actions: list[tuple[str, Action]] = []
        for stage, (worker, at_ms) in heartbeats.items():
            actions += self.owners.tell(stage, owners.Heartbeat(worker), at_ms)
        self._perform(actions + self.owners.wake(self._now_ms()))

    def _wait_for_connection(self) -> None:
        """Look again in a moment, and end the session after OFFLINE_FOR_MS."""
        if self._offline_since_ms is None:
            self._offline_since_ms = self._now_ms()
        if self._now_ms() - self._offline_since_ms >= OFFLINE_FOR_MS:
            lost = owners.GiveUp("lost", f"NATS was out of reach for {OFFLINE_FOR_MS // 1000} s")
            self._session.hang_up(*answers.given_up(subjects.STT, lost))  # no stage can be heard: stt stands for all
            return
        self._timer = asyncio.get_running_loop().call_later(OFFLINE_S, self._context.lifetime.guard, self._wake)


def utc_us() -> int:
    """Return this host's clock, UTC microseconds."""
    return time.time_ns() // 1_000
