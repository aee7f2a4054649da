"""A vendor's words become the words of the sentence."""

from hypothesis import given
from hypothesis import strategies as st

from stages.tts.word_alignment import WordAlignment


def aligned(text: str, *reported: tuple[str, int, int], duration_ms: int = 2_000) -> list[tuple[str, int, int]]:
    alignment = WordAlignment(text)
    words = [word for one in reported for word in alignment.add(*one)]
    return [(word.text, word.start_ms, word.end_ms) for word in (*words, *alignment.end(duration_ms))]


def test_words_with_and_without_punctuation_are_the_same() -> None:
    assert aligned("We open.", ("we", 0, 200), ("open", 250, 600)) == [("We", 0, 200), ("open.", 250, 600)]


def test_normalized_words_share_the_time_of_what_was_written() -> None:
    reported = (("costs", 0, 300), ("five", 300, 500), ("dollars", 500, 900), ("today", 900, 1_200))
    assert aligned("costs $5 today", *reported) == [("costs", 0, 300), ("$5", 300, 900), ("today", 900, 1_200)]


def test_words_that_were_never_reported_end_with_the_audio() -> None:
    assert aligned("a bc def", ("a", 0, 200), duration_ms=700) == [("a", 0, 200), ("bc", 200, 400), ("def", 400, 700)]


@given(
    st.lists(st.sampled_from(["one", "two", "$5", "x."]), max_size=12),
    st.lists(st.tuples(st.sampled_from(["one", "two", "five", "x", ""]), st.integers(0, 900), st.integers(0, 900))),
)
def test_every_word_comes_once_in_order_with_rising_times(
    words: list[str], reported: list[tuple[str, int, int]]
) -> None:
    came = aligned(" ".join(words), *reported)
    assert [word for word, _, _ in came] == words
    times = [time for _, start, end in came for time in (start, end)]
    assert times == sorted(times)
