"""What holds of the owners of a session whatever workers, the network and the caller do, and in whatever order."""

from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from schemas.events import Owner
from stages.ingress.owner_machine import TRANSITIONS
from stages.ingress.owner_states import (
    CLAIM_FOR_MS,
    OPEN_WITHIN_MS,
    TAKEOVER_WITHIN_MS,
    Action,
    Alive,
    Claim,
    ClaimAccepted,
    ClaimRefused,
    Closed,
    Ended,
    GiveUp,
    Heartbeat,
    Lost,
    Opened,
    Owned,
    OwnerChanged,
    OwnerInput,
    Ping,
    Release,
    Replay,
    Start,
    Started,
    StartFailed,
    Undelivered,
    Unknown,
)
from stages.ingress.owners import Owners

STAGES = ("stt", "llm")
WORKERS = ("a", "b", "c")
FIRST_EPOCH = 1


@dataclass
class Host:
    """What a worker knows of the session. It keeps the newest claim and never goes back to an older one."""

    epoch: int = 0  # of the claim that it holds, 0 for none
    started: bool = False
    newest: int = 0

    def claim(self, epoch: int) -> bool:
        if epoch <= self.newest:
            return False
        self.epoch = self.newest = epoch
        self.started = False
        return True

    def forget(self) -> None:
        self.epoch = 0


@dataclass
class World:
    """Messages on their way for one stage. Any of them may be late; none comes twice."""

    hosts: dict[str, Host] = field(default_factory=lambda: {worker: Host() for worker in WORKERS})
    claims: list[int] = field(default_factory=list)
    answers: list[OwnerInput] = field(default_factory=list)  # to ingress
    orders: dict[str, list[Start | Release | Ping]] = field(default_factory=lambda: {worker: [] for worker in WORKERS})
    closes: bool = False


class Session(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.now_ms = 0
        self.owners = Owners(STAGES, FIRST_EPOCH)
        self.worlds = {stage: World() for stage in STAGES}
        self.epochs: list[int] = []
        self.owned: dict[int, str] = {}  # epoch -> its only owner
        self.claimed: dict[str, int] = {}  # stage -> epoch of its newest claim
        self.gave_up: dict[str, int] = {stage: 0 for stage in STAGES}
        self.opened = self.ended = False
        self._perform(self.owners.begin(self.now_ms))

    # --- ingress ------------------------------------------------------------------------------------------------------

    def _tell(self, stage: str, event: OwnerInput) -> None:
        before, owner = self.owners._states[stage], self.owners.of(stage)
        self._perform(self.owners.tell(stage, event, self.now_ms))
        after = self.owners._states[stage]
        if owner and not isinstance(event, ClaimAccepted) and getattr(event, "worker", owner.worker) != owner.worker:
            assert after == before, "the word of another worker counted"
        row = TRANSITIONS.get((type(before), type(event)))
        assert type(after) in {type(before), *(row.to if row else ())}, (
            f"{before} x {event} -> {after}: not in the table"
        )

    def _perform(self, actions: list[tuple[str, Action]]) -> None:
        for stage, action in actions:
            world = self.worlds[stage]
            match action:
                case Claim(epoch):
                    assert not self.ended, "claimed after the end"
                    assert epoch > max(self.epochs, default=FIRST_EPOCH), "every attempt takes the next epoch"
                    self.epochs.append(epoch)
                    self.claimed[stage] = epoch
                    world.claims.append(epoch)
                case Replay(owner):
                    assert self.owned.setdefault(owner.epoch, owner.worker) == owner.worker, "two owners of one epoch"
                    assert world.hosts[owner.worker].newest >= owner.epoch
                    assert owner.epoch == self.claimed[stage], "an answer to an older claim"
                case OwnerChanged(owner):
                    assert owner.epoch not in self.owned
                case Start(owner):
                    assert self.owned[owner.epoch] == owner.worker
                    self._send_all(world, action)
                case Release():
                    self._send_all(world, action)
                case Ping(owner):
                    world.orders[owner.worker].append(action)
                case GiveUp(reason):
                    self.gave_up[stage] += 1
                    assert self.gave_up[stage] == 1, "given up twice"
                    assert (reason == "lost") is self.opened

    @staticmethod
    def _send_all(world: World, order: Start | Release) -> None:
        """Control messages of a session reach every worker that holds a claim of it."""
        for orders in world.orders.values():
            orders.append(order)

    # --- the world ----------------------------------------------------------------------------------------------------

    @rule(stage=st.sampled_from(STAGES), data=st.data())
    def a_claim_arrives(self, stage: str, data: st.DataObject) -> None:
        world = self.worlds[stage]
        if world.claims:
            epoch = world.claims.pop(data.draw(st.integers(0, len(world.claims) - 1)))
            worker = data.draw(st.sampled_from([*WORKERS, ""]))
            self._claim_arrives(stage, epoch, worker)

    def _claim_arrives(self, stage: str, epoch: int, worker: str) -> None:
        answers = self.worlds[stage].answers
        if worker and self.worlds[stage].hosts[worker].claim(epoch):
            answers.append(ClaimAccepted(epoch, worker))
        else:
            answers.append(ClaimRefused(epoch, "superseded" if worker else "none is running"))

    @rule(stage=st.sampled_from(STAGES), data=st.data())
    def an_answer_arrives(self, stage: str, data: st.DataObject) -> None:
        answers = self.worlds[stage].answers
        if answers:
            self._tell(stage, answers.pop(data.draw(st.integers(0, len(answers) - 1))))

    @rule(stage=st.sampled_from(STAGES), worker=st.sampled_from(WORKERS), fails=st.sampled_from(["", "", "", "x"]))
    def a_worker_obeys(self, stage: str, worker: str, fails: str) -> None:
        orders = self.worlds[stage].orders[worker]
        if orders:
            self._obey(stage, worker, orders.pop(0), fails)

    def _obey(self, stage: str, worker: str, order: Start | Release | Ping, fails: str = "") -> None:
        world = self.worlds[stage]
        host = world.hosts[worker]
        match order:
            case Start(Owner(_, epoch)):
                if host.epoch == epoch and fails:
                    host.forget()
                    world.answers.append(StartFailed(epoch, worker, "broken"))
                elif host.epoch == epoch:
                    host.started = True
                    world.answers.append(Started(epoch, worker))
                else:
                    if host.epoch < epoch:
                        host.forget()
                    world.answers.append(StartFailed(epoch, worker, "superseded", reclaim=True))
            case Release(epoch):
                if host.epoch <= epoch:
                    host.forget()
            case Ping(Owner(_, epoch)):
                world.answers.append(Alive(epoch) if host.epoch == epoch else Unknown(worker))

    @rule(stage=st.sampled_from(STAGES), worker=st.sampled_from(WORKERS))
    def a_heartbeat_arrives(self, stage: str, worker: str) -> None:
        if self.worlds[stage].hosts[worker].epoch:
            self._tell(stage, Heartbeat(worker))

    @rule(stage=st.sampled_from(STAGES), worker=st.sampled_from(WORKERS))
    def a_worker_restarts(self, stage: str, worker: str) -> None:
        """It loses every claim; its messages on the way are lost, and the server answers 503 for it."""
        host = self.worlds[stage].hosts[worker]
        owner = self.owners.of(stage)
        host.forget()
        self.worlds[stage].orders[worker].clear()
        if owner and owner.worker == worker:
            self._tell(stage, Undelivered(owner.epoch))

    @rule(ms=st.integers(1, 1_500))
    def time_passes(self, ms: int) -> None:
        self._wait(ms)

    def _wait(self, ms: int) -> None:
        until = self.now_ms + ms
        for _ in range(10_000):
            due = self.owners.deadline_ms
            if due is None or due > until:
                break
            self.now_ms = max(self.now_ms, due)
            self._perform(self.owners.wake(self.now_ms))
        else:
            raise AssertionError("a deadline that does not pass")
        self.now_ms = until

    @precondition(lambda self: self.owners.started and not self.opened and not self.ended)
    @rule()
    def the_session_opens(self) -> None:
        self.opened = True
        self._perform(self.owners.tell_all(Opened(), self.now_ms))

    @precondition(lambda self: not self.ended)
    @rule()
    def the_caller_hangs_up(self) -> None:
        self._end()

    def _end(self) -> None:
        self.ended = True
        self._perform(self.owners.tell_all(Ended(), self.now_ms))
        for world in self.worlds.values():  # `close` reaches every worker that holds a claim by then
            for worker, host in world.hosts.items():
                host.forget()
                world.orders[worker].clear()

    # --- what always holds --------------------------------------------------------------------------------------------

    @invariant()
    def an_owner_is_the_newest_that_was_accepted(self) -> None:
        for stage in STAGES:
            owner = self.owners.of(stage)
            if owner:
                assert self.owned[owner.epoch] == owner.worker

    def teardown(self) -> None:
        """Let the world calm down: it ends owned, given up or closed, and only owners hold a claim."""
        for _ in range((max(OPEN_WITHIN_MS, TAKEOVER_WITHIN_MS) + CLAIM_FOR_MS) // 50):
            for stage, world in self.worlds.items():
                while world.claims:
                    self._claim_arrives(stage, world.claims.pop(0), "a")
                while world.answers:
                    self._tell(stage, world.answers.pop(0))
                for worker, orders in world.orders.items():
                    while orders:
                        self._obey(stage, worker, orders.pop(0))
                    if world.hosts[worker].epoch:
                        self._tell(stage, Heartbeat(worker))
            if not self.ended and any(isinstance(self.owners._states[stage], Lost) for stage in STAGES):
                self._end()  # as the coordinator does
            self._wait(50)
        for stage, world in self.worlds.items():
            owner = self.owners.of(stage)
            assert isinstance(self.owners._states[stage], Closed if self.ended else Owned)
            holding = {worker: host.epoch for worker, host in world.hosts.items() if host.epoch}
            assert holding == ({owner.worker: owner.epoch} if owner else {}), "a worker that is not the owner is closed"


TestSession = Session.TestCase
TestSession.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
