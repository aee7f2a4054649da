"""What the local voice misreads is written out."""

import pytest

from stages.tts.text_normalization import normalize


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
    assert normalize(written) == read


@pytest.mark.parametrize(
    "text", ["$1,250.50", "2024-2026", "3.5 kg", "05/12/2026", "20% off", "9 to 1", "1 200 guests"]
)
def test_what_the_voice_reads_right_is_left_alone(text: str) -> None:
    assert normalize(text) == text
