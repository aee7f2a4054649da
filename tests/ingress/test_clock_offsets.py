"""Clock offsets of workers, from messages that take a while to arrive."""

from hypothesis import given
from hypothesis import strategies as st

from stages.ingress.clock_offsets import FRESH_US, MAX_WORKERS, ClockOffsets

TWO_MINUTES_US = 120_000_000
BEGIN_US = 1_700_000_000_000_000

delays_us = st.lists(st.integers(100, 200_000), min_size=1, max_size=100)


def message(offsets: ClockOffsets, offset_us: int, delay_us: int, at_us: int = BEGIN_US) -> None:
    """A message that was sent at `at_us` by our clock."""
    offsets.note("w", at_us + offset_us, at_us + delay_us)


def test_an_unknown_worker_has_our_clock() -> None:
    assert ClockOffsets().of("w") == 0


@given(st.sampled_from([TWO_MINUTES_US, -TWO_MINUTES_US, 0]), delays_us)
def test_the_error_is_the_shortest_delay(offset_us: int, delays: list[int]) -> None:
    offsets = ClockOffsets()
    for number, delay_us in enumerate(delays):
        message(offsets, offset_us, delay_us, BEGIN_US + number * 100_000)
    assert offset_us - offsets.of("w") == min(delays)


def test_a_clock_that_was_set_forward_is_known_at_once() -> None:
    offsets = ClockOffsets()
    message(offsets, 0, 100)
    message(offsets, TWO_MINUTES_US, 100, BEGIN_US + 100_000)
    assert offsets.of("w") == TWO_MINUTES_US - 100


def test_a_clock_that_was_set_back_is_known_with_the_next_answer() -> None:
    offsets = ClockOffsets()
    message(offsets, 0, 100)
    message(offsets, -TWO_MINUTES_US, 100, BEGIN_US + 100_000)
    assert offsets.of("w") == -100, "a heartbeat alone may be late"
    sent_us = BEGIN_US + 200_000
    offsets.note("w", sent_us + 500 - TWO_MINUTES_US, sent_us + 600, sent_us)
    assert offsets.of("w") == -TWO_MINUTES_US - 100


def test_an_old_measurement_gives_way() -> None:
    offsets = ClockOffsets()
    message(offsets, 0, 100)
    message(offsets, -3_000, 100, BEGIN_US + FRESH_US + 1_000)
    assert offsets.of("w") == -3_100


def test_what_is_kept_is_bounded() -> None:
    offsets = ClockOffsets()
    for number in range(MAX_WORKERS + 5):
        offsets.note(f"w{number}", BEGIN_US + 7, BEGIN_US)
    assert [offsets.of("w4"), offsets.of("w5")] == [0, 7]
