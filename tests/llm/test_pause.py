"""The pause after which words count as a finished turn."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.agent import Turns
from stages.llm.pause import dictates, pause_ms, probably_finished

SHORT_MS, LONG_MS = 300, 2_500  # the defaults
HEARD_AFTER_MS = 600  # a pause this long outlasts most of a caller's own within a sentence


def pause(text: str) -> int:
    return pause_ms(text, Turns(), english=True)


@pytest.mark.parametrize(
    "text",
    [
        "When do you open?",
        "Do you also treat cats?",
        "Hi, are you taking new patients?",
        "How much is a check-up?",
        "Four people.",
        "Tomorrow.",
        "No.",
        "Yes.",
        "Hello?",
        "Thank you.",
        "Thank you very much.",
        "5551234567",
        "Yeah, okay.",
    ],
)
def test_a_finished_turn_is_answered_after_the_shorter_pause(text: str) -> None:
    assert pause(text) == SHORT_MS


@pytest.mark.parametrize(
    "text",
    [
        "I need",
        "I think",
        "My dog is",
        "I was wondering if",
        "I'd like to book a table for",
        "The reason I'm calling is that",
        "Can you",
        "I would like",
        "Could you tell me",
        "my tooth has been",
        "I'm looking for a cheap",
        "five five five",
        "My number is 555 123",
        "a b c",
    ],
)
def test_the_beginning_of_a_sentence_is_waited_for(text: str) -> None:
    assert pause(text) >= HEARD_AFTER_MS


@pytest.mark.parametrize(
    "text", ["I would like an appointment.", "It costs 150.", "My tooth hurts.", "Hi there, hello."]
)
def test_a_full_stop_bounds_the_pause(text: str) -> None:
    assert pause(text) <= SHORT_MS + (LONG_MS - SHORT_MS) // 5


def test_words_that_cannot_be_the_last_are_given_the_longer_pause() -> None:
    assert pause("I would like to book a table and") == LONG_MS


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("five five five", True),
        ("My number is 0 8 1 5", True),
        ("it's J, O, H", True),
        ("555 123", True),
        ("5 5 5 1 2 3 4", False),  # a whole number
        ("in 2025", False),
        ("for 4", False),
        ("I have 2 dogs", False),
        ("room 12", False),
        ("", False),
    ],
)
def test_digits_and_letters_one_by_one_are_dictation(text: str, expected: bool) -> None:
    assert dictates(text) is expected


def test_words_of_another_language_are_not_judged() -> None:
    rules = Turns()
    assert pause_ms("I was wondering if", rules, english=False) == SHORT_MS
    assert pause_ms("Ich möchte ...", rules, english=False) == LONG_MS


def test_a_reply_is_begun_for_words_that_may_be_all() -> None:
    assert probably_finished("When do you open?", english=True)
    assert probably_finished("I would like an appointment.", english=True)
    assert not probably_finished("I was wondering if", english=True)


@given(st.text(max_size=80), st.integers(0, 3_000), st.integers(0, 3_000), st.booleans())
def test_the_pause_is_between_the_two(text: str, least: int, most: int, english: bool) -> None:
    rules = Turns(min_delay_ms=least, max_delay_ms=most)
    assert min(least, most) <= pause_ms(text, rules, english=english) <= max(least, most)
