"""Words that noise explains are none, and words that are known are not published again."""

import pytest

from stages.stt.postprocess import after, filter_hallucinations, same_words

SECOND = 16_000


@pytest.mark.parametrize("text", ["You", "you.", " You? "])
def test_the_text_that_a_model_writes_for_noise_is_no_word(text: str) -> None:
    assert filter_hallucinations(text, SECOND) == ""


def test_a_blip_of_voice_holds_no_word() -> None:
    assert filter_hallucinations("Right?", SECOND * 96 // 1000) == ""


@pytest.mark.parametrize("text", ["No.", "Hi", "Thank you.", "You are open on Sunday?"])
def test_short_answers_are_words(text: str) -> None:
    assert filter_hallucinations(text, SECOND * 160 // 1000) == text


@pytest.mark.parametrize(
    ("known", "text", "new"),
    [
        ("Try again. Fair again.", "Try again. Fail again. Fail better.", "Fail better."),
        ("No.", "No, no.", "no."),
        ("Ever tried.", "ever tried ever failed", "ever failed"),
        ("Try again.", "Try again.", ""),  # nothing new: it has to be read alone
        ("Ever failed.", "Bear again, fell better.", ""),  # another text: its new words are unknown
    ],
)
def test_known_words_are_stripped(known: str, text: str, new: str) -> None:
    assert after(known, text) == new


def test_punctuation_and_capitals_make_no_other_words() -> None:
    assert same_words("When do you open?", "when do you  open")
    assert not same_words("When do you open?", "When did you open?")
