"""The life of claims in one worker, under every order and delay of claims, starts, closes and openings."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import ClassVar, cast

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from antiphon_testing.virtual_time import VirtualLoop, in_virtual_time
from bus.connect import Bus
from bus.message import Message
from schemas import control, events, subjects
from schemas.agent import AgentDocument
from schemas.events import Event, LlmStageFailed, SessionOpened
from stages.runtime import stage_host
from stages.runtime.context import StageContext
from stages.runtime.providers import Provider, ProviderContext, ProviderError, Providers
from stages.runtime.stage import Stage, handles
from stages.runtime.stage_host import StageHost
from stages.runtime.worker import Worker
from tests.runtime.fake_bus import FakeBus

SESSIONS = ("s1", "s2")
LONG_S = 25.0  # longer than every deadline of the stage host
CONFIG = AgentDocument(id="agent1").model_dump(mode="json")
DELAYS_S = st.sampled_from((0.0, 0.0, 0.01, 0.1, 0.5))
OPENINGS_S = st.sampled_from((0.0, 0.0, 0.02, 1.0, 30.0))
FLUSHES_S = st.sampled_from((0.0, 0.0, 0.02, 1.0, 10.0))


@dataclass(frozen=True)
class Plan:
    """What the next stage does. refuses: its provider raises ProviderError as it opens. fails: it fails in its life."""

    opening_s: float = 0.0
    flush_s: float = 0.0
    refuses: bool = False
    fails: bool = False


class Planned:
    """A stage of the llm kind that follows a plan."""

    publishes: ClassVar[tuple[type[Event], ...]] = ()

    @handles(SessionOpened)
    def open(self, opened: SessionOpened) -> None: ...


class Module:
    """A StageModule. open: how many stages are open, or being opened."""

    STAGE = Planned

    def __init__(self) -> None:
        self.plan = Plan()
        self.open = 0

    @asynccontextmanager
    async def open_worker(self, providers: Providers[Provider], /) -> AsyncIterator[None]:
        yield None

    def open_session(self, context: StageContext, shared: None, /) -> AbstractAsyncContextManager[Stage]:
        return self._open(context, self.plan)

    @asynccontextmanager
    async def _open(self, context: StageContext, plan: Plan) -> AsyncIterator[Planned]:
        self.open += 1
        try:
            await asyncio.sleep(plan.opening_s)
            if plan.refuses:
                raise ProviderError("options", "option first_ms: it must be positive")
            if plan.fails:
                context.later(300, lambda: context.fail(ProviderError("server", "it went away")))
            yield Planned()
            await asyncio.sleep(plan.flush_s)
        finally:
            self.open -= 1


class Scene:
    """One worker with a real StageHost on a FakeBus, and what ingress sends it."""

    def __init__(self) -> None:
        self.bus = FakeBus(self._check)
        self.module = Module()
        self.worker = Worker(cast(Bus, self.bus), subjects.LLM)
        self.host = StageHost(self.worker, self.module, Providers(subjects.LLM, ProviderContext()), None)
        self.worker._role = self.host
        self.worker._collect = lambda: None  # type: ignore[method-assign]  # a collection takes longer than an example
        self.claimed: dict[str, control.Claimed] = {}
        self.started: dict[str, control.Started] = {}
        self.failed = 0
        self.asked = 0

    async def open(self) -> None:
        self._group = asyncio.TaskGroup()
        self.worker.tasks = await self._group.__aenter__()
        self._serving = self.worker.tasks.create_task(self.host.serve())

    async def close(self) -> None:
        self._serving.cancel()
        await self._group.__aexit__(None, None, None)

    def hosted(self, session: str) -> int:
        """The epoch at which the worker hosts the session; 0 if it does not."""
        found = self.host._hosted.get(session)
        return found.epoch if found else 0

    def claim(self, session: str, epoch: int) -> str:
        claim = control.ClaimStage(session, epoch, "agent1", "ingress1", "null", ("scripted",))
        reply = self._reply(f"claim.{session}.{epoch}")
        message = Message(subjects.claim(subjects.LLM), control.encode(claim), reply)
        self.bus.send(lambda: self.worker._on_claim(message))
        return reply

    def start(self, session: str, epoch: int) -> str:
        return self._control(session, "start", control.Start(session, epoch, CONFIG))

    def end(self, session: str) -> str:
        return self._control(session, "close", control.Close(session, "hangup"))

    def release(self, session: str, epoch: int) -> str:
        return self._control(session, "release", control.Release(session, epoch))

    def _control(self, session: str, verb: str, what: control.Start | control.Close | control.Release) -> str:
        reply = self._reply(f"{verb}.{session}")
        message = Message(subjects.control(session, subjects.LLM, verb), control.encode(what), reply)
        self.bus.deliver(message, subjects.controls(session, subjects.LLM))
        return reply

    def _reply(self, what: str) -> str:
        self.asked += 1
        return f"reply.{self.asked}.{what}"

    def _check(self, subject: str, data: bytes) -> None:
        """Look at each answer as it leaves the worker."""
        parts = subject.split(".")
        if parts[0] == "reply" and parts[2] == "claim":
            self.claimed[subject] = control.decode(data, control.Claimed)
            if self.claimed[subject].refused is None:
                assert self.hosted(parts[3]) == int(parts[4])  # an accepted claim is the one that is hosted
        elif parts[0] == "reply" and parts[2] == "start":
            self.started[subject] = control.decode(data, control.Started)
        elif parts[-1] == "stage_failed":
            assert isinstance(events.decode(data), LlmStageFailed)
            self.failed += 1


class Claims(RuleBasedStateMachine):
    """Ingress claims, starts, releases and closes two sessions at one worker, and at times at another one."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = VirtualLoop()
        self.scene = self.loop.run_until_complete(self._scene())
        self.epoch = 0
        self.before = dict.fromkeys(SESSIONS, 0)
        self.elsewhere: set[str] = set()  # sessions that another worker owns by now
        self.claims: list[str] = []
        self.to_be_answered: list[str] = []
        self.to_be_ignored: list[str] = []
        self.closes_elsewhere: list[str] = []

    async def _scene(self) -> Scene:
        scene = Scene()
        await scene.open()
        return scene

    def teardown(self) -> None:
        try:
            self.loop.run_until_complete(self._end())
        finally:
            self.loop.run_until_complete(self._abandon())
            self.loop.close()

    async def _abandon(self) -> None:
        """Leave no task behind when an example has failed."""
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    async def _end(self) -> None:
        scene = self.scene
        await asyncio.sleep(LONG_S)
        for session in SESSIONS:
            if scene.hosted(session):
                self.to_be_answered.append(scene.end(session))
        await asyncio.sleep(LONG_S)
        assert (scene.host._hosted, scene.host._leaving, scene.worker.sessions, scene.module.open) == ({}, {}, {}, 0)
        assert [one.subject for one in scene.bus.subscriptions] == ["_INBOX.worker.*"]  # of the heartbeats
        assert scene.worker.tasks._tasks == {scene._serving}
        assert {reply: scene.bus.answers[reply] for reply in self.claims} == dict.fromkeys(self.claims, 1)
        answered = {reply: scene.bus.answers[reply] for reply in self.to_be_answered}
        assert answered == dict.fromkeys(self.to_be_answered, 1)
        assert all(scene.bus.answers[reply] <= 1 for reply in self.closes_elsewhere)
        assert not any(reply in scene.started for reply in self.to_be_ignored)
        await scene.close()

    async def _do(self, action: str, *arguments: object) -> str:
        reply: str = getattr(self.scene, action)(*arguments)
        await asyncio.sleep(0)
        return reply

    def do(self, action: str, *arguments: object) -> str:
        return self.loop.run_until_complete(self._do(action, *arguments))

    def accepted(self, session: str) -> list[int]:
        replies = [reply.split(".") for reply, claimed in self.scene.claimed.items() if claimed.refused is None]
        return [int(epoch) for _, _, _, name, epoch in replies if name == session]

    @rule(session=st.sampled_from(SESSIONS), delay_s=DELAYS_S)
    def claim(self, session: str, delay_s: float) -> None:
        self.scene.bus.delay_s = delay_s
        self.epoch += 1
        self.elsewhere.discard(session)
        self.claims.append(self.do("claim", session, self.epoch))

    @precondition(lambda self: any(self.scene.hosted(session) for session in SESSIONS))
    @rule(older=st.integers(0, 3), data=st.data())
    def claim_late(self, older: int, data: st.DataObject) -> None:
        """A claim that was delayed until after a newer one of its session."""
        session = data.draw(st.sampled_from([session for session in SESSIONS if self.scene.hosted(session)]))
        self.claims.append(self.do("claim", session, max(self.scene.hosted(session) - older, 0)))

    @rule(
        session=st.sampled_from(SESSIONS),
        opening_s=OPENINGS_S,
        flush_s=FLUSHES_S,
        refuses=st.booleans(),
        fails=st.booleans(),
        data=st.data(),
    )
    def start(
        self, session: str, opening_s: float, flush_s: float, refuses: bool, fails: bool, data: st.DataObject
    ) -> None:
        """A start of a claim that was accepted: mostly the newest, at times one that was replaced since."""
        epochs = self.accepted(session)
        if epochs:
            self.scene.module.plan = Plan(opening_s, flush_s, refuses, fails)
            epoch = data.draw(st.sampled_from([*epochs[-3:], epochs[-1], epochs[-1]]))
            self.to_be_answered.append(self.do("start", session, epoch))

    @rule(session=st.sampled_from(SESSIONS))
    def start_elsewhere(self, session: str) -> None:
        """Ingress claimed another worker, and that one is started."""
        self.epoch += 1
        self.elsewhere.add(session)
        self.to_be_ignored.append(self.do("start", session, self.epoch))

    @rule(session=st.sampled_from(SESSIONS))
    def release(self, session: str) -> None:
        """Another worker has answered the newest claim of this session first."""
        self.epoch += 1
        self.elsewhere.add(session)
        self.do("release", session, self.epoch)

    @rule(session=st.sampled_from(SESSIONS))
    def end(self, session: str) -> None:
        to = self.closes_elsewhere if session in self.elsewhere else self.to_be_answered
        to.append(self.do("end", session))

    @rule(wait_s=st.sampled_from((0.0, 0.005, 0.02, 0.2, 1.0, 3.0, 10.0)))
    def wait(self, wait_s: float) -> None:
        self.loop.run_until_complete(asyncio.sleep(wait_s))

    @invariant()
    def a_newer_epoch_is_never_replaced_by_an_older_one(self) -> None:
        now = {session: self.scene.hosted(session) for session in SESSIONS}
        for session, epoch in now.items():
            assert not 0 < epoch < self.before[session]
        assert now.keys() >= self.scene.worker.sessions.keys()
        self.before = now


TestClaims = Claims.TestCase
TestClaims.settings = settings(max_examples=60, stateful_step_count=25)


async def settled(scene: Scene) -> None:
    await asyncio.sleep(0.05)


@in_virtual_time
async def test_of_two_claims_under_way_the_newer_is_hosted_and_the_older_is_refused() -> None:
    scene = Scene()
    await scene.open()
    scene.bus.delay_s = 0.1
    older, newer = scene.claim("s1", 7), scene.claim("s1", 8)
    late = scene.claim("s1", 6)
    await asyncio.sleep(1)
    assert [scene.claimed[reply].refused for reply in (older, newer, late)] == ["superseded", None, "superseded"]
    assert scene.hosted("s1") == 8
    start = scene.start("s1", 7)
    await settled(scene)
    assert scene.started[start].reclaim
    scene.end("s1")
    await scene.close()


@in_virtual_time
async def test_a_close_ends_an_opening_at_once_and_answers_both() -> None:
    scene = Scene()
    await scene.open()
    scene.module.plan = Plan(opening_s=30)
    scene.claim("s1", 1)
    await settled(scene)
    start = scene.start("s1", 1)
    await settled(scene)
    assert scene.module.open == 1
    close = scene.end("s1")
    await settled(scene)
    assert (scene.module.open, scene.bus.answers[close]) == (0, 1)
    assert scene.started[start].reclaim
    assert scene.failed == 0  # a call that hangs up did not fail
    await scene.close()


@in_virtual_time
async def test_an_opening_has_a_deadline_and_its_failure_a_name() -> None:
    scene = Scene()
    await scene.open()
    scene.module.plan = Plan(opening_s=100)
    scene.claim("s1", 1)
    await settled(scene)
    start = scene.start("s1", 1)
    await asyncio.sleep(stage_host.OPEN_WITHIN_S + 0.1)
    assert scene.started[start] == control.Started(
        scene.worker.id, "cannot open the stage: not ready within 18 s", reclaim=False
    )
    assert (scene.failed, scene.module.open, scene.hosted("s1")) == (1, 0, 0)
    await scene.close()


@in_virtual_time
async def test_a_claim_that_was_forgotten_answers_a_late_start_and_a_close_on_their_way() -> None:
    scene = Scene()
    await scene.open()
    scene.claim("s1", 1)
    await asyncio.sleep(stage_host.START_WITHIN_S + 0.098)  # the heartbeat after it forgets the claim
    while scene.hosted("s1"):
        await asyncio.sleep(0.001)
    start, close = scene.start("s1", 1), scene.end("s1")
    await settled(scene)
    assert scene.started[start].reclaim
    assert scene.bus.answers[close] == 1
    gone = scene.end("s1")
    await settled(scene)
    assert scene.bus.answers[gone] == 1  # the server's 503, at once
    await scene.close()


@in_virtual_time
async def test_a_refused_option_is_answered_and_the_close_that_follows_waits_for_nothing() -> None:
    scene = Scene()
    await scene.open()
    scene.module.plan = Plan(refuses=True)
    scene.claim("s1", 1)
    await settled(scene)
    start = scene.start("s1", 1)
    while start not in scene.started:
        await asyncio.sleep(0.001)
    close = scene.end("s1")
    await settled(scene)
    assert scene.started[start].failed == "option first_ms: it must be positive"
    assert not scene.started[start].reclaim
    assert scene.bus.answers[close] == 1
    await scene.close()


@in_virtual_time
async def test_a_repeated_start_is_answered_and_opens_nothing_more() -> None:
    scene = Scene()
    await scene.open()
    scene.module.plan = Plan(opening_s=1)
    scene.claim("s1", 1)
    await settled(scene)
    first, second = scene.start("s1", 1), scene.start("s1", 1)
    await asyncio.sleep(2)
    third = scene.start("s1", 1)
    await settled(scene)
    assert {scene.started[reply].failed for reply in (first, second, third)} == {""}
    assert scene.module.open == 1
    scene.end("s1")
    await settled(scene)
    await scene.close()
