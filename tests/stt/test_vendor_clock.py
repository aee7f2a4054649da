"""A vendor's time as a position in the caller's audio."""

from hypothesis import given
from hypothesis import strategies as st

from schemas.audio import CALLER_HZ
from stages.stt.vendor_clock import MOST_GAPS, VendorClock

SECOND = 16_000


def test_time_counts_from_the_first_frame() -> None:
    clock = VendorClock()
    assert (clock.end, clock.sample(3.0)) == (0, 0)
    clock.add(7 * SECOND, SECOND)
    assert clock.sample(0.5) == 7 * SECOND + SECOND // 2
    assert clock.sample(99.0) == clock.end == 8 * SECOND


def test_a_gap_moves_what_follows_it_and_nothing_before() -> None:
    clock = VendorClock()
    clock.add(0, SECOND)
    clock.add(61 * SECOND, SECOND)
    assert clock.sample(0.5) == SECOND // 2
    assert clock.sample(1.0) == SECOND
    assert clock.sample(1.5) == 61 * SECOND + SECOND // 2


def test_gaps_without_end_cost_no_memory() -> None:
    clock = VendorClock()
    for number in range(10 * MOST_GAPS):
        clock.add(2 * number * SECOND, SECOND)
    assert len(clock._spans) == MOST_GAPS
    assert clock.end == (20 * MOST_GAPS - 1) * SECOND


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(1, 50)), min_size=1, max_size=30))
def test_every_sample_that_was_sent_is_found(frames: list[tuple[int, int]]) -> None:
    clock, line, at = VendorClock(), list[int](), 0
    for gap, samples in frames:
        at += gap
        clock.add(at, samples)
        line += range(at, at + samples)
        at += samples
    for sent, sample in enumerate(line):
        before = line[sent - 1] + 1 if sent else sample
        assert clock._caller_sample(sent) in (sample, before)  # at a gap the end of what was before it will do


def test_a_final_starts_with_its_first_word_and_times_its_words_from_there() -> None:
    clock = VendorClock()
    clock.add(1_000, 3 * CALLER_HZ)
    final = clock.final("Good day", 0.0, 2.0, [("Good", 0.5, 0.7), ("day", 0.8, 1.2)], end_of_turn=True)
    assert (final.start_sample, final.until_sample) == (1_000 + CALLER_HZ // 2, 1_000 + 2 * CALLER_HZ)
    assert [(word.start_ms, word.end_ms) for word in final.words] == [(0, 200), (300, 700)]
    assert clock.final("", 0.0, 2.0).start_sample == 1_000
