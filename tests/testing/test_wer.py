"""The word error rate, and the words that it compares."""

import pytest

from antiphon_testing.wer import spelled, word_error_rate, words


def test_words_have_no_case_no_punctuation_and_no_old_spelling() -> None:
    assert words("To-morrow, it\u2019s FINE.") == ["tomorrow", "it's", "fine"]


@pytest.mark.parametrize(
    ("said", "heard", "rate"),
    [
        ("one two three four", "One, two, three, four!", 0.0),
        ("one two three four", "one two three", 0.25),  # a deletion
        ("one two three four", "one two too three four", 0.25),  # an insertion
        ("one two three four", "one too three four", 0.25),  # a substitution
        ("one", "", 1.0),
        ("one", "two three", 2.0),
    ],
)
def test_the_rate_counts_substitutions_deletions_and_insertions(said: str, heard: str, rate: float) -> None:
    assert word_error_rate(said, heard) == rate


@pytest.mark.parametrize(
    ("written", "spoken"),
    [
        ("$60 at 9:30 a.m.", "sixty dollars at nine:thirty am"),
        ("call 555-0100", "call five five five zero one zero zero"),
        ("21 days", "twenty one days"),
        ("7", "seven"),
    ],
)
def test_figures_are_spelled_as_they_are_spoken(written: str, spoken: str) -> None:
    assert words(spelled(written)) == words(spoken)
