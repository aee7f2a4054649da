"""What the local voice misreads is written out, and long text is cut where a speaker would breathe."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.tts.spoken import PHRASE, phrases, spoken


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("Mon-Fri 8am-6pm", "Monday to Friday 8 AM to 6 PM"),
        ("9:30am", "9:30 AM"),
        ("Call 555 0142.", "Call five five five, oh one four two."),
        ("+1 415 555 0142", "one, four one five, five five five, oh one four two"),
        ("room 007", "room oh oh seven"),
        ("www.example.com", "example dot com"),
        ("James Chen", "James \u2060Chen"),
        ("**Free** `parking`", " Free   parking "),
        ("...", ""),
    ],
)
def test_it_is_written_as_it_is_said(written: str, read: str) -> None:
    assert spoken(written) == read


@pytest.mark.parametrize(
    "text", ["$1,250.50", "2024-2026", "3.5 kg", "05/12/2026", "20% off", "9 to 1", "1 200 guests"]
)
def test_what_the_voice_reads_right_is_left_alone(text: str) -> None:
    assert spoken(text) == text


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
