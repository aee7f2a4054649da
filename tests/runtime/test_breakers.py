"""The breakers of providers: when a fleet leaves a provider, and when it comes back."""

from typing import Any

import pytest

from schemas.breakers import BreakerKey, BreakerState
from stages.runtime.breakers import ATTEMPT_US, KEY_WAIT_US, MAX_RETRY_AFTER_US, WAITS_US, Breakers

KEY = BreakerKey("llm", "acme")
SECOND = 1_000_000


def breakers(worker: str = "w1", fingerprint: str = "keys-1") -> Breakers:
    return Breakers(worker, fingerprint)


def fail(one: Breakers, now_us: int, kind: Any = "connection", retry_after_s: float | None = None) -> Any:
    return one.failed(KEY, kind, retry_after_s, now_us)


def verdict(one: Breakers, now_us: int, key: BreakerKey = KEY) -> str:
    return one.verdict(key, now_us)[0]


def opened(one: Breakers, now_us: int = 0) -> BreakerState:
    fail(one, now_us)
    state = fail(one, now_us)
    assert isinstance(state, BreakerState)
    return state


def test_one_failure_is_no_outage_and_two_in_a_row_are() -> None:
    one = breakers()
    assert fail(one, 0) is None
    assert verdict(one, 0) == "use"
    one.succeeded(KEY, 1)
    assert fail(one, 2) is None
    state = fail(one, 3)
    assert (state.state, state.kind, state.worker) == ("open", "connection", "w1")
    assert verdict(one, 4) == "avoid"


def test_failures_far_apart_are_not_counted_together() -> None:
    one = breakers()
    fail(one, 0)
    assert fail(one, 11 * SECOND) is None


def test_a_timeout_opens_at_once() -> None:
    one = breakers()
    assert fail(one, 0, "timeout").state == "open"


@pytest.mark.parametrize("kind", ["bad_request", "options", "no_audio"])
def test_a_wrong_request_says_nothing_about_the_provider(kind: str) -> None:
    one = breakers()
    assert [fail(one, at, kind) for at in range(5)] == [None] * 5


def test_one_attempt_at_a_time_and_its_success_closes() -> None:
    one = breakers()
    state = opened(one)
    assert verdict(one, WAITS_US[0] - 1) == "avoid"
    assert verdict(one, WAITS_US[0]) == "attempt"
    one.attempt(state, WAITS_US[0])
    assert verdict(one, WAITS_US[0] + 1) == "avoid"
    (closed,) = one.succeeded(KEY, WAITS_US[0] + 2)
    assert closed.state == "closed"
    assert verdict(one, WAITS_US[0] + 3) == "use"


def test_an_attempt_that_fails_waits_longer_up_to_five_seconds() -> None:
    one = breakers()
    state, now_us, waits = opened(one), 0, []
    for _ in range(5):
        waits.append(state.retry_us - now_us)
        now_us = state.retry_us
        state = fail(one, now_us) if one.attempt(state, now_us) else state
    assert waits == [*WAITS_US, WAITS_US[-1]]
    assert max(waits) < 10 * SECOND  # a vendor that recovers is used again within 10 s


def test_an_attempt_that_is_never_reported_gives_way_to_another() -> None:
    one = breakers()
    one.attempt(opened(one), WAITS_US[0])
    assert verdict(one, WAITS_US[0] + ATTEMPT_US) == "attempt"


def test_a_late_failure_of_a_request_from_before_changes_nothing() -> None:
    one = breakers()
    opened(one)
    assert fail(one, 1) is None


@pytest.mark.parametrize("kind", ["auth", "quota"])
def test_a_refused_key_is_avoided_only_where_the_key_is_used(kind: str) -> None:
    one, same_keys, other_keys = breakers(), breakers("w2"), breakers("w3", "keys-2")
    state = fail(one, 0, kind)
    assert state.retry_us == KEY_WAIT_US
    for other in (same_keys, other_keys):
        other.learn(state)
    assert [verdict(each, 1) for each in (one, same_keys, other_keys)] == ["avoid", "avoid", "use"]


@pytest.mark.parametrize(("asked_s", "wait_us"), [(7.0, 7 * SECOND), (0.0, SECOND), (1e9, MAX_RETRY_AFTER_US)])
def test_a_vendor_that_asks_to_wait_is_heeded(asked_s: float, wait_us: int) -> None:
    assert fail(breakers(), 0, "quota", asked_s).retry_us == wait_us


def test_another_host_of_the_provider_is_another_breaker() -> None:
    one = breakers()
    opened(one)
    assert verdict(one, 1, BreakerKey("llm", "acme", "10.0.0.5:8000")) == "use"


def test_workers_learn_the_newest_change_whatever_the_order() -> None:
    one, other = breakers(), breakers("w2")
    first = opened(one)
    second = one.attempt(first, WAITS_US[0])
    for state in (second, first):
        other.learn(state)
    assert other.states == (second,)
    (closed,) = one.succeeded(KEY, WAITS_US[0] + 1)
    other.learn(closed)
    assert verdict(other, WAITS_US[0] + 2) == "use"


def test_a_change_outdoes_one_of_a_worker_whose_clock_is_ahead() -> None:
    one, ahead = breakers(), breakers("w2")
    one.learn(opened(ahead, now_us=60 * SECOND))
    state = one.attempt(one.states[0], SECOND)
    assert state.changed_us > 60 * SECOND
