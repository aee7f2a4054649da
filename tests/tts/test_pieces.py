"""The text of a sentence as it goes to a vendor."""

from hypothesis import given
from hypothesis import strategies as st

from stages.tts.pieces import pieces, respell, spoken


def test_a_piece_ends_behind_a_sentence_else_a_clause_else_a_word() -> None:
    assert pieces("One two. Three, four five", 18) == ["One two.", "Three, four five"]
    assert pieces("One two, three four five", 14) == ["One two,", "three four", "five"]
    assert pieces("abcdefgh", 3) == ["abc", "def", "gh"]
    assert pieces("  ", 3) == []


@given(st.text(alphabet="ab ,.。，!", max_size=200), st.integers(1, 40))
def test_no_letter_is_lost_and_no_piece_is_too_long(text: str, most: int) -> None:
    cut = pieces(text, most)
    assert "".join("".join(cut).split()) == "".join(text.split())
    assert all(0 < len(piece) <= most for piece in cut)


def test_whole_words_get_their_pronunciation_in_any_case() -> None:
    said = {"Nguyen": "win", "a.b.": "ay bee", "Nguyen Street": "win street"}
    assert respell("NGUYEN of Nguyen street, Nguyens, a.b.", said) == "win of win street, Nguyens, ay bee"
    assert spoken("**50 %** of Nguyen", "en", said) == "50 percent of win"
    assert spoken("...", "en", said) == ""
