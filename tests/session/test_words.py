"""Words of transcripts, compared and joined."""

from session.words import joined, words


def test_words_are_compared_without_case_and_punctuation() -> None:
    assert words("When do you OPEN?") == words("when do you open") == ("when", "do", "you", "open")
    assert words("It’s half-past") == ("it's", "half", "past")
    assert words(" ... ") == ()


def test_parts_are_joined_by_one_space_and_an_empty_part_adds_none() -> None:
    assert joined(joined(joined("", "when do"), ""), "you open") == "when do you open"
