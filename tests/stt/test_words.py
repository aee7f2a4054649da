"""What noise alone explains is no word."""

import pytest

from stages.stt.words import spoken

SECOND = 16_000


@pytest.mark.parametrize("text", ["You", "you.", " You? "])
def test_what_the_recogniser_says_to_noise_is_no_word(text: str) -> None:
    assert spoken(text, SECOND) == ""


def test_a_blip_of_voice_holds_no_word() -> None:
    assert spoken("Right?", SECOND * 96 // 1000) == ""


@pytest.mark.parametrize("text", ["No.", "Hi", "Thank you.", "You are open on Sunday?"])
def test_short_answers_are_words(text: str) -> None:
    assert spoken(text, SECOND * 160 // 1000) == text
