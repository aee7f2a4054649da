"""Claims of a session on a real bus, by workers of llm that a test plays: lost, late, unwilling, with another clock."""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import pytest

from antiphon_testing.agents import scripted_agent
from antiphon_testing.event_recorder import SessionEvents
from antiphon_testing.platform import Platform, open_platform
from bus.connect import Bus, Subscription
from bus.heartbeats import EVERY_S
from bus.message import Message
from schemas import control, events, subjects
from schemas.control import Claimed, Playhead, Started
from session.state import SessionState
from stages.ingress.claims import Claims
from stages.ingress.clock_offsets import ClockOffsets
from stages.runtime.context import Outlet, StageContext
from stages.runtime.inbox import Inbox
from stages.runtime.worker import Worker

ECHO = scripted_agent("echo")
PATTERN = {"start_ms": 5_000, "speech_ms": 300, "turns": 1}
LONG_US = 120_000_000  # two minutes
GOOD_US = 50_000  # on a loaded machine; 1 to 2 ms on a quiet one


@dataclass
class PlayedWorker:
    """A worker of llm that answers as it is told.

    accepts: None leaves claims unanswered. starts: None leaves `start` unanswered.
    """

    bus: Bus
    name: str
    accepts: Claimed | None
    starts: Started | None = None
    ahead_us: int = 0
    claimed: list[control.ClaimStage] = field(default_factory=list)
    claim_replies: list[str] = field(default_factory=list)
    started: list[control.Start] = field(default_factory=list)
    released: list[int] = field(default_factory=list)
    closed: int = 0
    frozen: bool = False  # it does not even answer `close`
    subscriptions: list[Subscription] = field(default_factory=list)

    async def open(self) -> None:
        claims = await self.bus.subscribe(subjects.claim(subjects.LLM), self._on_claim, queue=subjects.LLM)
        self.subscriptions = [claims, await self.bus.subscribe("va1.control.*.llm.*", self._on_control)]
        await self.bus.flush()

    async def leave(self) -> None:
        """Take no more claims; control messages still come."""
        await self.subscriptions.pop(0).unsubscribe()
        await self.bus.flush()

    def accept(self, number: int = 0) -> None:
        """Answer a claim."""
        answer = Claimed(self.name, time=time.time_ns() // 1_000 + self.ahead_us)
        self.bus.publish(self.claim_replies[number], control.encode(answer))

    def beat(self) -> None:
        claim = self.claimed[-1]
        heartbeat = control.Heartbeat(self.name, subjects.LLM, [claim.session])
        self.bus.publish(subjects.heartbeat(claim.coordinator, self.name), control.encode(heartbeat))

    def _on_claim(self, message: Message) -> None:
        self.claimed.append(control.decode(message.data, control.ClaimStage))
        self.claim_replies.append(message.reply)
        if self.accepts and self.accepts.refused:
            self.bus.publish(message.reply, control.encode(self.accepts))
        elif self.accepts:
            self.accept(-1)

    def _on_control(self, message: Message) -> None:
        match subjects.last_token(message.subject):
            case "start":
                start = control.decode(message.data, control.Start)
                self.started.append(start)
                if self.starts and start.epoch == self.claimed[-1].epoch:
                    self.bus.publish(message.reply, control.encode(self.starts))
            case "release":
                self.released.append(control.decode(message.data, control.Release).epoch)
            case "close":
                self.closed += 1
                if self.frozen:
                    return
                self.bus.publish(message.reply, control.encode(control.Closed(self.name)))


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[Platform]:
    """Every stage but llm, whose worker a test plays."""
    async with open_platform(tmp_path, [ECHO]) as home:
        await home.stop(home.workers[subjects.LLM][0])
        yield home


async def hang_up(home: Platform, call: SessionEvents) -> events.SessionClosed:
    close = control.encode(control.Close(call.session, "hangup"))
    await home.bus.request(subjects.control(call.session, subjects.INGRESS, "close"), close, 1.0)
    return await call.until(events.SessionClosed)


async def keep_alive(worker: PlayedWorker, call: SessionEvents) -> None:
    while not call.all(events.SessionClosed):
        if worker.claimed:
            worker.beat()
        await asyncio.sleep(EVERY_S)


async def test_an_owner_that_is_lost_in_the_opening_is_replaced_and_both_clocks_are_known(home: Platform) -> None:
    frozen = PlayedWorker(home.bus, "frozen", Claimed("frozen"), ahead_us=-LONG_US)
    await frozen.open()
    call = await home.simulated_call("echo", **PATTERN)
    async with asyncio.timeout(5):
        while not frozen.started:
            await asyncio.sleep(0.01)
    await frozen.leave()
    second = PlayedWorker(home.bus, "second", Claimed("second"), Started("second"), ahead_us=LONG_US)
    await second.open()
    began = time.monotonic()
    opened = await call.until(events.SessionOpened)
    assert time.monotonic() - began < 1.5
    alive = asyncio.create_task(keep_alive(second, call))

    [changed] = call.all(events.OwnerChanged)
    epochs = frozen.claimed[0].epoch, second.claimed[-1].epoch
    assert (changed.stage, changed.worker, changed.owner_epoch, changed.cut) == ("llm", "second", epochs[1], None)
    assert epochs[0] < epochs[1]
    assert call.tags.index("ingress.owner_changed") < call.tags.index("ingress.session_opened")
    assert opened.owners[subjects.LLM] == events.Owner("second", epochs[1])
    assert frozen.released == [epochs[0]]
    assert abs(changed.clock_offset_us - LONG_US) < GOOD_US
    assert opened.clock_offset_us.keys() == set(subjects.CLAIMED)
    assert abs(opened.clock_offset_us.pop(subjects.LLM) - LONG_US) < GOOD_US
    assert max(map(abs, opened.clock_offset_us.values())) < GOOD_US

    assert (await hang_up(home, call)).reason == "hangup"
    assert second.closed == 1
    await alive


async def test_a_claim_that_is_accepted_too_late_is_released(home: Platform) -> None:
    late = PlayedWorker(home.bus, "late", None)
    await late.open()
    call = await home.simulated_call("echo", **PATTERN)
    async with asyncio.timeout(5):
        while len(late.claimed) < 3:
            await asyncio.sleep(0.01)
    epochs = [claim.epoch for claim in late.claimed]
    assert sorted(set(epochs)) == epochs
    late.accept(0)
    async with asyncio.timeout(1):
        while not late.released:
            await asyncio.sleep(0.01)
    assert late.released == [epochs[0]]
    assert late.started == []

    assert (await hang_up(home, call)).reason == "hangup"
    known = len(late.claimed)
    late.accept(-1)  # the session is over
    async with asyncio.timeout(1):
        while len(late.released) < 2:
            await asyncio.sleep(0.01)
    await asyncio.sleep(0.3)
    assert len(late.claimed) == known, "claimed after the end"


@pytest.mark.parametrize("frozen", [True, False])
async def test_hanging_up_ends_an_opening_that_waits_for_a_start(home: Platform, frozen: bool) -> None:
    slow = PlayedWorker(home.bus, "slow", Claimed("slow"), frozen=frozen)
    await slow.open()
    call = await home.simulated_call("echo", **PATTERN)
    alive = asyncio.create_task(keep_alive(slow, call))
    async with asyncio.timeout(5):
        while not slow.started:
            await asyncio.sleep(0.01)
    began = time.monotonic()
    assert (await hang_up(home, call)).reason == "hangup"
    assert time.monotonic() - began < 1.0
    assert slow.closed == 1
    await alive


async def test_a_refusal_that_every_worker_would_repeat_ends_the_call_at_once(home: Platform) -> None:
    detail = "OPENAI_API_KEY is not set"
    keyless = PlayedWorker(home.bus, "keyless", Claimed("keyless", "provider_missing", detail))
    await keyless.open()
    call = await home.simulated_call("echo", **PATTERN)
    closed = await call.until(events.SessionClosed)
    assert closed.reason == "provider_missing"
    assert detail in closed.detail
    assert len(keyless.claimed) == 1


async def test_a_start_that_is_reclaimed_is_claimed_again(home: Platform) -> None:
    forgetful = PlayedWorker(home.bus, "w", Claimed("w"), Started("w", "forgotten", reclaim=True))
    await forgetful.open()
    call = await home.simulated_call("echo", **PATTERN)
    async with asyncio.timeout(5):
        while len(forgetful.started) < 2:
            await asyncio.sleep(0.01)
    forgetful.starts = Started("w")
    await call.until(events.SessionOpened)
    alive = asyncio.create_task(keep_alive(forgetful, call))
    await hang_up(home, call)
    await alive


class Recorded:
    """A worker of ingress whose bus keeps what is published, and a session that needs nothing."""

    id = "ingress"

    def __init__(self) -> None:
        self.bus = self
        self.connected = True
        self.sent: list[tuple[str, bytes, str]] = []
        self.state = SessionState()

    def publish(self, subject: str, data: bytes, reply: str = "") -> None:
        self.sent.append((subject, data, reply))

    def last(self, stage: str, verb: str) -> tuple[bytes, int]:
        """The data of the newest request of this kind, and its epoch."""
        found = [(data, reply) for _, data, reply in self.sent if f".{stage}.{verb}." in reply]
        return found[-1][0], int(found[-1][1].rpartition(".")[2])

    def access(self, stage: str) -> None: ...

    @property
    def forwarded(self) -> None: ...

    @property
    def replay_from(self) -> int:
        return 0

    def note_stt(self) -> None: ...

    def replay(self, owner: events.Owner) -> None: ...

    def change_owner(self, stage: str, owner: events.Owner) -> None: ...

    def hang_up(self, reason: events.CloseReason, detail: str) -> None: ...


async def test_the_latest_playhead_of_the_owner_goes_to_the_next_owner_of_egress() -> None:
    ingress = Recorded()
    worker = cast(Worker, ingress)  # only `id` and `bus` are used
    context = StageContext(subjects.INGRESS, "s", "echo", 1, cast(Outlet, ingress), ())
    claims = Claims(worker, Inbox(context), ingress, "answers", ClockOffsets(), "null")
    claims.begin()

    def start(name: str) -> control.Start:
        _, epoch = ingress.last(subjects.EGRESS, "claim")
        claims.on_answer(subjects.EGRESS, "claim", epoch, control.encode(Claimed(name)))
        return control.decode(ingress.last(subjects.EGRESS, "start")[0], control.Start)

    first = start("first")
    assert first.playhead is None
    for name, heard_ms in (("first", 300), ("first", 320), ("another", 900)):
        claims.on_heartbeat(subjects.EGRESS, name, Playhead(2, 1, heard_ms))
    claims.on_heartbeat(subjects.EGRESS, "first")
    claims.on_answer(subjects.EGRESS, "start", first.epoch, b"")  # 503: the worker is gone
    async with asyncio.timeout(2):
        while ingress.last(subjects.EGRESS, "claim")[1] == first.epoch:
            await asyncio.sleep(0.01)
    assert start("second").playhead == Playhead(2, 1, 320)
    closing = asyncio.create_task(claims.close("hangup"))
    await asyncio.sleep(0)
    claims.on_answer(subjects.EGRESS, "close", 0, control.encode(control.Closed("second")))
    await asyncio.wait_for(closing, 1)
