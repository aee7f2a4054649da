"""Judging words: backchannels and endings."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.llm.endpointing import BACKCHANNELS, is_backchannel, sounds_unfinished


@pytest.mark.parametrize(
    "text",
    [
        "mm-hm",
        "Uh-huh.",
        "Yeah.",
        "yeah, yeah",
        "OK",
        "Okay, right.",
        "I see.",
        "Oh, okay, got it!",
        "That's right.",
        "Um.",
        "Uh?",
    ],
)
def test_these_words_ask_nobody_to_stop(text: str) -> None:
    assert is_backchannel(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "...",
        "No.",
        "Stop.",
        "Wait",
        "Yeah, but",
        "Okay, and the price?",
        "I",
        "Right?",
        "Hm?",
        "I see you",
        "Um, wait",
        "hello",
    ],
)
def test_these_do_or_say_nothing(text: str) -> None:
    assert not is_backchannel(text)


@pytest.mark.parametrize(
    ("text", "may_be"), [("I", True), ("uh", True), ("okay I", True), ("I am", False), ("no", False)]
)
def test_of_words_still_coming_the_start_of_a_backchannel_will_do(text: str, may_be: bool) -> None:
    assert is_backchannel(text, whole=False) is may_be


@given(st.lists(st.sampled_from(sorted(BACKCHANNELS)), min_size=1, max_size=5))
def test_backchannels_in_a_row_are_one(phrases: list[str]) -> None:
    assert is_backchannel(", ".join(phrases))


@given(st.lists(st.sampled_from(sorted(BACKCHANNELS)), min_size=1, max_size=3), st.data())
def test_while_a_backchannel_is_said_it_never_looks_like_words(phrases: list[str], data: st.DataObject) -> None:
    spoken = " ".join(phrases).split()
    heard = data.draw(st.integers(min_value=1, max_value=len(spoken)))
    assert is_backchannel(" ".join(spoken[:heard]), whole=False)


@pytest.mark.parametrize(
    "text",
    [
        "I'd like to book a table and",
        "My number is",
        "I need to",
        "It's for my",
        "Monday, Tuesday,",
        "on Monday, on Tuesday,",
        "I can come on Monday, Tuesday,",
        "I can come on Monday, on Tuesday,",
        "My number is five five five, zero one,",
        "I'd like milk and bread, eggs,",
        "I want to book, um,",
        "I want to book, for my,",
        "I want to book, you know,",
        "Please,",
        "Well,",
        "I'd like to book a table, and,",
        "What I have is a,",
        "What I want is the.",
        "So um",
        "I was thinking...",
        "well –",
    ],
)
def test_these_speakers_have_more_to_say(text: str) -> None:
    assert sounds_unfinished(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "When do you open?",
        "A table for two.",
        "What is it for?",
        "Where are you",
        "Yes",
        "That's what I came for.",
        "two",
        "I'd like to make an appointment,",
        "I want to book for Tuesday,",
        "I want to book, for Tuesday,",
        "I want to book. for Tuesday,",
        "I want to book, at nine,",
        "Hello, I want to book, please,",
        "I want to go to town, on Monday,",
        "I want a table, next Friday,",
        "Hi, I'm looking for a dentist, ",
    ],
)
def test_these_have_finished(text: str) -> None:
    assert not sounds_unfinished(text)
