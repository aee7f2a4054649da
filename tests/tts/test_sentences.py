"""Long text is cut where a speaker would breathe."""

from hypothesis import given
from hypothesis import strategies as st

from stages.tts.sentences import PHRASE, phrases


def test_a_long_first_sentence_is_cut_at_its_first_comma() -> None:
    sentence = "If you're in pain, we'll see you on the very same day, and before noon if we can."
    assert phrases([sentence])[0] == "If you're in pain,"
    assert phrases(["Yes.", sentence]) == ["Yes.", sentence]


@given(st.lists(st.text(max_size=700), max_size=4))
def test_cutting_keeps_every_word_and_makes_no_piece_too_long(sentences: list[str]) -> None:
    pieces = phrases(sentences)
    assert all(len(piece) <= PHRASE for piece in pieces)
    kept = "".join("".join(piece.split()) for piece in pieces)
    assert kept == "".join("".join(s.split()) for s in sentences if any(c.isalnum() for c in s))
