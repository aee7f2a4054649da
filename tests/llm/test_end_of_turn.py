"""The fitted judge of the end of turn."""

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.llm.end_of_turn import WEIGHTS, features, finished

SENTENCES = (
    "do you have a table for two people tonight",
    "I would like to change my booking to eight o'clock",
    "how much does it cost to transfer money to another account",
    "can you tell me what time the last train leaves",
    "is there a restaurant near the station that is open on Sunday",
)


@pytest.mark.parametrize("sentence", SENTENCES)
def test_a_whole_sentence_is_more_probably_finished_than_most_of_its_beginnings(sentence: str) -> None:
    spoken = sentence.split()
    beginnings = [finished(" ".join(spoken[:end])) for end in range(1, len(spoken))]
    assert sum(one < finished(sentence) for one in beginnings) >= 0.8 * len(beginnings)


@given(st.text(max_size=200))
def test_any_text_has_a_probability(text: str) -> None:
    assert 0.0 <= finished(text) <= 1.0


def test_punctuation_and_case_change_nothing() -> None:
    assert finished("Do you OPEN, tomorrow?!") == finished("do you open tomorrow")


def test_the_stored_weights_are_those_whose_figures_are_stored() -> None:
    stored = json.loads(WEIGHTS.read_text())
    size = len(base64.b64decode(stored["weights"]))
    assert all(0 <= place < size for place in features(("one", "two", "three"), size))
    assert stored["held_out"]["area_under_curve"] > 0.9
    assert stored["held_out"]["finished_below_0.2"] < 0.05 < 0.6 < stored["held_out"]["unfinished_below_0.2"]
