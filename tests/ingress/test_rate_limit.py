"""A caller may be ahead of real time, and not for ever."""

from hypothesis import given
from hypothesis import strategies as st

from stages.ingress.rate_limit import RateLimiter


def test_so_much_may_come_at_once_and_then_what_real_time_lets_through() -> None:
    allowance = RateLimiter(3.0)
    assert [allowance.take(1.0, now=100.0) for _ in range(4)] == [True, True, True, False]
    assert not allowance.take(1.0, now=100.9)
    assert allowance.take(1.0, now=101.0)
    assert not allowance.take(1.0, now=101.0)


def test_who_was_silent_has_saved_nothing() -> None:
    allowance = RateLimiter(1.0)
    assert allowance.take(1.0, now=0.0)
    assert [allowance.take(1.0, now=1_000.0) for _ in range(2)] == [True, False]


@given(st.lists(st.tuples(st.integers(1, 50), st.integers(0, 50)), max_size=100))
def test_of_what_comes_no_more_is_taken_than_has_time(coming: list[tuple[int, int]]) -> None:
    allowance, now, taken = RateLimiter(20.0), 1_000, 0
    for lasts, passes in coming:
        now += passes
        taken += lasts if allowance.take(float(lasts), float(now)) else 0
        assert taken <= 20 + now - 1_000
