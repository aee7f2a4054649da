"""Synthesis runs at most five seconds ahead of playback."""

import math

from hypothesis import given
from hypothesis import strategies as st

from stages.tts.credit import AHEAD_S, Credit


def spend_all(credit: Credit, now_ms: float) -> float:
    """Send chunks of 100 ms while it may be; returns how much went out."""
    sent = 0.0
    while credit.wait_ms(now_ms) == 0:
        credit.spend(100, now_ms)
        sent += 100
    return sent


def test_five_seconds_may_go_out_before_anything_is_heard() -> None:
    credit = Credit()
    assert spend_all(credit, 0) == AHEAD_S * 1000
    assert credit.wait_ms(60_000) == math.inf


def test_what_the_caller_hears_makes_room() -> None:
    credit = Credit()
    spend_all(credit, 0)
    credit.started(100)
    assert 0 < credit.wait_ms(100) <= 1
    assert spend_all(credit, 1_100) == 1_000


def test_a_caller_who_speaks_stops_the_clock() -> None:
    credit = Credit()
    spend_all(credit, 0)
    credit.started(0)
    credit.paused(heard_ms=400)
    assert spend_all(credit, 10_000) == 400
    assert credit.wait_ms(20_000) == math.inf
    credit.resumed(heard_ms=400, now_ms=20_000)
    assert spend_all(credit, 20_500) == 500


def test_a_hold_before_the_first_sound_does_not_start_the_clock() -> None:
    credit = Credit()
    spend_all(credit, 0)
    credit.paused(heard_ms=0)
    credit.resumed(heard_ms=0, now_ms=1_000)
    assert credit.wait_ms(60_000) == math.inf
    credit.started(60_000)
    assert spend_all(credit, 61_000) == 1_000


def test_a_player_that_ran_dry_does_not_earn_credit_for_silence() -> None:
    credit = Credit()
    credit.spend(100, 0)
    credit.started(0)
    assert spend_all(credit, 30_000) == AHEAD_S * 1000


@given(st.lists(st.tuples(st.integers(0, 8_000), st.booleans()), max_size=30))
def test_it_is_never_more_than_five_seconds_and_a_chunk_ahead(steps: list[tuple[int, bool]]) -> None:
    credit, sent, heard, now, running = Credit(), 0.0, 0.0, 0, True
    credit.started(0)
    for wait, pause in steps:
        now += wait
        if running:
            heard = min(sent, heard + wait)
        if pause and running:
            credit.paused(heard)
        elif pause:
            credit.resumed(heard, now)
        running ^= pause
        sent += spend_all(credit, now)
        assert sent - heard <= AHEAD_S * 1000 + 100
