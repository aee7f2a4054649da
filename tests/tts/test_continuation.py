"""Where a backup voice goes on."""

from hypothesis import given
from hypothesis import strategies as st

from schemas.events import Word
from stages.tts.continuation import PACE, behind_time, behind_words, measured_pace

TEXT = "We open at nine, not at ten."


def test_it_goes_on_behind_the_words_that_were_spoken() -> None:
    words = [Word(word, 0, 0) for word in TEXT.split()]
    assert behind_words(TEXT, []) == TEXT
    assert behind_words(TEXT, words[:4]) == "not at ten."
    assert behind_words(TEXT, words) == ""
    assert behind_words("Nine. ...", [Word("Nine.", 0, 0)]) == ""


@given(st.lists(st.sampled_from(["at", "a", "t", "at,", "ten."]), min_size=1, max_size=12), st.data())
def test_no_word_is_lost_and_none_comes_twice(words: list[str], data: st.DataObject) -> None:
    spoken = data.draw(st.integers(0, len(words)))
    assert behind_words(" ".join(words), [Word(word, 0, 0) for word in words[:spoken]]).split() == words[spoken:]


@given(st.text("ab .,", min_size=1, max_size=60).filter(lambda text: "a" in text), st.floats(0, 20_000))
def test_without_word_times_words_are_repeated_and_never_skipped(text: str, sounded_ms: float) -> None:
    rest = behind_time(text, sounded_ms, PACE)
    left = text.strip()[: len(text.strip()) - len(rest)]
    assert text.strip() == left + rest or not rest
    assert len(left.rstrip()) <= sounded_ms * PACE + len(text) - len(text.lstrip()) + 1 or not rest


def test_the_last_word_is_always_said_again() -> None:
    assert behind_time(TEXT, 60_000, PACE) == "ten."


def test_the_pace_is_the_slowest_that_was_measured_with_caution() -> None:
    assert measured_pace(None, 0, 0) == PACE
    assert measured_pace(None, 100, 5_000) == 0.016
    assert measured_pace(0.012, 100, 5_000) == 0.012
