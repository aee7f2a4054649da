"""How late the finals of a provider are."""

from stages.stt.lateness import FEWEST, FINAL_WITHIN_MS, RECENT, Lateness


def test_a_few_finals_say_nothing() -> None:
    lateness = Lateness()
    for _ in range(FEWEST - 1):
        lateness.add(5_000)
    assert lateness.final_within_ms == FINAL_WITHIN_MS


def test_it_is_the_99th_percentile_of_the_recent_ones() -> None:
    lateness = Lateness()
    for _ in range(RECENT):
        lateness.add(9_000)
    for late_ms in range(RECENT):
        lateness.add(late_ms)
    assert lateness.final_within_ms == RECENT * 99 // 100 - 1
