"""The owner machine step by step: from a claim to an owner, to the next claim, or to the end of the session."""

import pytest

from schemas.events import Owner
from stages.ingress.owner_machine import IGNORED, TRANSITIONS, begin, step
from stages.ingress.owner_states import (
    CLAIM_FOR_MS,
    CLAIM_PAUSE_MS,
    CLAIM_SLOWLY_WITHIN_MS,
    CLAIM_WITHIN_MS,
    COLD_SILENCE_MS,
    INPUTS,
    LIVE_SILENCE_MS,
    OPEN_WITHIN_MS,
    OPENING_SILENCE_MS,
    PING_WITHIN_MS,
    START_PAUSE_MS,
    STATES,
    TAKEOVER_WITHIN_MS,
    Action,
    Alive,
    Claim,
    ClaimAccepted,
    Claiming,
    ClaimRefused,
    Closed,
    Deadline,
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
    Starting,
    State,
    Suspect,
    Undelivered,
    Unknown,
)

W1, W2 = Owner("w1", 1), Owner("w2", 2)


class Stage:
    """A machine with its clock; the epoch of each claim is one higher than the one before."""

    def __init__(self) -> None:
        self.now_ms = 1_000
        self.epoch = 0
        self.state: State
        self.actions: list[Action] = []
        self._take(*begin(self.now_ms, 1))

    def tell(self, *events: OwnerInput) -> list[Action]:
        """Step through `events`; returns the actions of the last one."""
        for event in events:
            self._take(*step(self.state, event, self.now_ms, self.epoch + 1))
        return self.actions

    def wait(self, ms: int) -> list[Action]:
        self.now_ms += ms
        return self.tell(Deadline())

    def _take(self, state: State, actions: tuple[Action, ...]) -> None:
        self.state, self.actions = state, list(actions)
        self.epoch += sum(isinstance(action, Claim) for action in actions)


def owned(*, live: bool) -> Stage:
    stage = Stage()
    stage.tell(ClaimAccepted(1, "w1"), Started(1, "w1"))
    if live:
        stage.tell(Opened())
    return stage


def suspected(*, live: bool = False) -> Stage:
    stage = owned(live=live)
    stage.wait(LIVE_SILENCE_MS if live else OPENING_SILENCE_MS)
    assert isinstance(stage.state, Suspect)
    return stage


def test_every_pair_of_a_state_and_an_input_is_decided_once() -> None:
    pairs = {(state, event) for state in STATES for event in INPUTS}
    assert set(TRANSITIONS) | IGNORED == pairs
    assert not set(TRANSITIONS) & IGNORED


def test_a_claim_a_start_and_an_owner() -> None:
    stage = Stage()
    assert stage.actions == [Claim(1)]
    assert stage.tell(ClaimAccepted(1, "w1")) == [Replay(W1), Start(W1)]
    assert stage.tell(Started(1, "w1")) == []
    assert isinstance(stage.state, Owned)


def test_an_unanswered_claim_is_followed_by_the_next_epoch_and_its_late_worker_released() -> None:
    stage = Stage()
    assert stage.wait(CLAIM_WITHIN_MS - 1) == []
    assert stage.wait(1) == [Claim(2)]
    assert stage.tell(ClaimAccepted(1, "w1")) == [Release(1)]
    assert stage.tell(ClaimAccepted(2, "w2")) == [Replay(W2), Start(W2)]
    assert stage.tell(ClaimAccepted(1, "w1")) == [Release(1)]
    assert stage.tell(ClaimAccepted(2, "w2")) == []


def test_an_answer_that_came_too_late_gives_the_newest_claim_more_time() -> None:
    stage = Stage()
    stage.wait(CLAIM_WITHIN_MS)
    assert stage.tell(ClaimAccepted(1, "w1")) == [Release(1)]
    assert stage.wait(CLAIM_SLOWLY_WITHIN_MS - 1) == []
    assert stage.tell(ClaimAccepted(2, "w2")) == [Replay(W2), Start(W2)]


def test_workers_that_answer_too_late_are_claimed_no_longer_than_an_opening_takes() -> None:
    stage = Stage()
    begun_ms = stage.now_ms
    while not isinstance(stage.state, Lost):
        deadline_ms = stage.state.deadline_ms
        assert deadline_ms is not None
        stage.wait(deadline_ms - stage.now_ms)
        stage.tell(ClaimAccepted(1, "w1"))
    assert stage.now_ms - begun_ms <= OPEN_WITHIN_MS + CLAIM_SLOWLY_WITHIN_MS


def test_after_a_refusal_the_next_claim_waits() -> None:
    stage = Stage()
    assert stage.tell(ClaimRefused(1, "full")) == []
    assert stage.wait(CLAIM_PAUSE_MS - 1) == []
    assert stage.wait(1) == [Claim(2)]
    assert stage.tell(ClaimRefused(1, "full")) == [], "of the claim before"


@pytest.mark.parametrize("final", ["provider_missing", "version"])
def test_a_refusal_that_every_worker_would_repeat_ends_the_session(final: str) -> None:
    stage = Stage()
    assert stage.tell(ClaimRefused(1, "no key", final)) == [GiveUp(final, "no key")]  # type: ignore[arg-type]
    assert isinstance(stage.state, Lost)


def test_a_stage_that_no_worker_takes_is_given_up_in_time() -> None:
    stage = Stage()
    begun_ms = stage.now_ms
    while isinstance(stage.state, Claiming):
        assert stage.state.deadline_ms > stage.now_ms
        stage.wait(stage.state.deadline_ms - stage.now_ms)
    assert stage.now_ms - begun_ms == CLAIM_FOR_MS
    [gave_up] = stage.actions
    assert isinstance(gave_up, GiveUp)
    assert gave_up.reason == "no_worker"


def test_an_owner_lost_in_the_opening_is_replaced_within_the_second() -> None:
    stage = owned(live=False)
    assert stage.wait(OPENING_SILENCE_MS) == [Ping(W1)]
    assert stage.wait(PING_WITHIN_MS) == [Release(1)]
    assert stage.wait(CLAIM_PAUSE_MS) == [Claim(2)]
    assert OPENING_SILENCE_MS + PING_WITHIN_MS + CLAIM_PAUSE_MS <= 1_000
    assert stage.tell(ClaimAccepted(2, "w2")) == [OwnerChanged(W2), Replay(W2), Start(W2)]
    assert stage.tell(Started(1, "w1")) == [], "of the owner before"
    assert isinstance(stage.state, Starting)


def test_a_frozen_owner_without_another_worker_ends_the_opening_in_time() -> None:
    stage = owned(live=False)
    silent_since_ms = stage.now_ms
    while not isinstance(stage.state, Lost):
        deadline_ms = stage.state.deadline_ms
        assert deadline_ms is not None
        stage.wait(deadline_ms - stage.now_ms)
    assert stage.now_ms - silent_since_ms <= CLAIM_FOR_MS


def test_a_worker_that_loads_its_model_may_be_silent_for_longer() -> None:
    stage = Stage()
    stage.tell(ClaimAccepted(1, "w1", cold=True))
    assert stage.wait(COLD_SILENCE_MS - 1) == []
    assert stage.wait(1) == [Ping(W1)]
    stage.tell(Alive(1), Started(1, "w1"))
    assert stage.wait(OPENING_SILENCE_MS) == [Ping(W1)], "it is not cold any more"


@pytest.mark.parametrize("lost", [Undelivered(1), Unknown("w1"), StartFailed(1, "w1", "superseded", reclaim=True)])
def test_a_start_that_no_worker_takes_leads_to_the_next_claim(lost: OwnerInput) -> None:
    stage = Stage()
    stage.tell(ClaimAccepted(1, "w1"))
    assert stage.tell(lost) == [Release(1)]
    assert stage.wait(CLAIM_PAUSE_MS) == [Claim(2)]


def test_a_worker_that_forgets_every_claim_is_not_asked_for_ever() -> None:
    stage = Stage()
    begun_ms = stage.now_ms
    while not isinstance(stage.state, Lost):
        stage.tell(ClaimAccepted(stage.epoch, "w1"), StartFailed(stage.epoch, "w1", "forgotten", reclaim=True))
        stage.wait(CLAIM_PAUSE_MS)
    assert stage.now_ms - begun_ms <= CLAIM_FOR_MS + CLAIM_PAUSE_MS


def test_a_start_that_fails_ends_the_session() -> None:
    stage = Stage()
    stage.tell(ClaimAccepted(1, "w1"))
    assert stage.tell(StartFailed(1, "w2", "another worker's")) == []
    assert stage.tell(StartFailed(1, "w1", "no such voice")) == [GiveUp("failed", "no such voice")]


def test_a_start_may_take_long_while_heartbeats_come_but_not_for_ever() -> None:
    stage = Stage()
    stage.tell(ClaimAccepted(1, "w1"))
    begun_ms = stage.now_ms
    while isinstance(stage.state, Starting):
        stage.tell(Heartbeat("w1"))
        stage.wait(OPENING_SILENCE_MS // 2)
    assert stage.now_ms - begun_ms >= OPEN_WITHIN_MS
    [gave_up] = stage.actions
    assert isinstance(gave_up, GiveUp)
    assert gave_up.reason == "failed"


@pytest.mark.parametrize("sign", [Heartbeat("w1"), Alive(1)])
@pytest.mark.parametrize("live", [True, False])
def test_a_sign_of_life_clears_the_suspicion(sign: OwnerInput, live: bool) -> None:
    stage = suspected(live=live)
    assert stage.tell(sign) == []
    assert isinstance(stage.state, Owned)
    assert stage.wait((LIVE_SILENCE_MS if live else OPENING_SILENCE_MS) - 1) == []


@pytest.mark.parametrize("sign", [Heartbeat("w2"), Alive(2), Unknown("w2"), Undelivered(2)])
def test_another_worker_says_nothing_about_the_owner(sign: OwnerInput) -> None:
    stage = suspected()
    before = stage.state
    assert stage.tell(sign) == []
    assert stage.state == before


def test_a_suspect_may_still_start() -> None:
    stage = Stage()
    stage.tell(ClaimAccepted(1, "w1"))
    assert stage.wait(OPENING_SILENCE_MS) == [Ping(W1)]
    stage.tell(Started(1, "w1"))
    assert isinstance(stage.state, Owned)


@pytest.mark.parametrize("sign", [Undelivered(1), Unknown("w1")])
def test_a_lost_owner_of_a_live_session_is_taken_over_at_once(sign: OwnerInput) -> None:
    stage = suspected(live=True)
    assert stage.tell(sign) == [Release(1)]
    assert stage.wait(0) == [Claim(2)]
    assert stage.tell(ClaimAccepted(2, "w2")) == [OwnerChanged(W2), Replay(W2), Start(W2)]
    assert stage.tell(Started(2, "w2")) == []
    assert isinstance(stage.state, Owned)
    assert stage.wait(LIVE_SILENCE_MS) == [Ping(W2)], "the new owner is watched as closely as the old one"


def test_a_frozen_live_owner_is_lost_within_a_second() -> None:
    stage = owned(live=True)
    assert stage.wait(LIVE_SILENCE_MS - 1) == []
    assert stage.wait(1) == [Ping(W1)]
    assert stage.wait(PING_WITHIN_MS) == [Release(1)]
    assert stage.wait(0) == [Claim(2)]
    assert LIVE_SILENCE_MS + PING_WITHIN_MS <= 1_000


def test_a_live_session_waits_for_a_worker_but_not_for_ever() -> None:
    stage = suspected(live=True)
    stage.tell(Undelivered(1))
    lost_ms = stage.now_ms
    while isinstance(stage.state, Claiming):
        assert stage.tell(ClaimRefused(stage.epoch, "none is running", "provider_missing")) == []
        stage.wait(stage.state.deadline_ms - stage.now_ms)
    [gave_up] = stage.actions
    assert isinstance(gave_up, GiveUp)
    assert gave_up.reason == "lost"
    assert TAKEOVER_WITHIN_MS <= stage.now_ms - lost_ms <= TAKEOVER_WITHIN_MS + CLAIM_PAUSE_MS


def test_a_live_session_asks_again_after_a_start_that_failed() -> None:
    stage = suspected(live=True)
    stage.tell(Undelivered(1))
    stage.wait(0)
    stage.tell(ClaimAccepted(2, "w2"))
    assert stage.tell(StartFailed(2, "w2", "the vendor is down")) == [Release(2)]
    assert stage.wait(START_PAUSE_MS - 1) == []
    assert stage.wait(1) == [Claim(3)]


def test_a_live_session_ends_when_no_new_owner_starts_in_time() -> None:
    stage = suspected(live=True)
    stage.tell(Undelivered(1))
    lost_ms = stage.now_ms
    stage.wait(0)
    stage.tell(ClaimAccepted(2, "w2"))
    while isinstance(stage.state, Starting):
        stage.tell(Heartbeat("w2"))
        stage.wait(OPENING_SILENCE_MS // 2)
    [gave_up] = stage.actions
    assert isinstance(gave_up, GiveUp)
    assert gave_up.reason == "lost"
    assert stage.now_ms - lost_ms <= TAKEOVER_WITHIN_MS + OPENING_SILENCE_MS


def test_an_undelivered_message_alone_does_not_lose_a_live_owner() -> None:
    stage = owned(live=True)
    assert stage.tell(Undelivered(1)) == [Ping(W1)]
    stage.tell(Alive(1))
    assert isinstance(stage.state, Owned)


def test_a_suspicion_outlives_the_opening() -> None:
    stage = suspected()
    stage.tell(Opened(), Alive(1))
    assert stage.wait(LIVE_SILENCE_MS - 1) == []


def test_a_caller_may_be_waited_for_longer_than_a_start() -> None:
    stage = owned(live=False)
    for _ in range(OPEN_WITHIN_MS // OPENING_SILENCE_MS + 10):
        stage.tell(Heartbeat("w1"))
        stage.wait(OPENING_SILENCE_MS - 1)
    assert stage.tell(Unknown("w1")) == [Release(1)]
    assert stage.wait(CLAIM_PAUSE_MS) == [Claim(2)]


def test_nothing_is_claimed_after_the_end_and_a_late_worker_is_released() -> None:
    stage = Stage()
    stage.tell(Ended())
    assert stage.tell(ClaimAccepted(1, "w1")) == [Release(1)]
    assert stage.wait(OPEN_WITHIN_MS) == []
    assert stage.state == Closed()
