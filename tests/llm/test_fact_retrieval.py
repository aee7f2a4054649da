"""Which fact a caller asks for, told by the words alone."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.agent import AgentDocument, AgentFact
from stages.llm.contract import ChatMessage
from stages.llm.fact_retrieval import CHOSEN, MATCHED, choose, stem

RECEPTIONIST = Path(__file__).parents[2] / "examples" / "agents" / "receptionist.json"
EVENTS = AgentDocument.model_validate(json.loads(RECEPTIONIST.read_text())).facts


@pytest.mark.parametrize(
    ("asked", "answered"),
    [
        ("When do you close today?", "6 pm"),
        ("Whereabouts are you exactly?", "24 Mill Street"),
        ("How much would I pay to get my teeth cleaned?", "85 dollars"),
        ("My mother uses a wheelchair, can she get in?", "no steps"),
        ("I've got a terrible toothache, can someone see me today?", "same day"),
    ],
)
def test_a_question_in_other_words_finds_its_fact(asked: str, answered: str) -> None:
    (score, fact), *_ = choose(EVENTS, asked)
    assert answered in fact.text
    assert score >= MATCHED


@pytest.mark.parametrize(
    ("heard", "answered"),
    [
        ("are you taking on new patience", "new patients"),
        ("how much is the check cup", "A check-up is 60 dollars, and"),
    ],
)
def test_a_misheard_word_still_finds_its_fact(heard: str, answered: str) -> None:
    (score, fact), *_ = choose(EVENTS, heard)
    assert answered in fact.text
    assert score >= MATCHED


@pytest.mark.parametrize(
    "asked",
    [
        "What's the weather going to be like tomorrow?",
        "Do you also treat cats?",
        "How much is a haircut?",
        "Can you recommend a good restaurant nearby?",
        "Where is my dog?",
        "",
    ],
)
def test_what_the_sheet_does_not_know_matches_nothing(asked: str) -> None:
    assert choose(EVENTS, asked)[0][0] < MATCHED


def test_a_follow_up_is_read_with_the_question_before_it() -> None:
    alone = choose(EVENTS, "And how much is that?")[0][1]
    before = (ChatMessage("user", "Do you do teeth whitening?"), ChatMessage("assistant", "We do."))
    score, fact = choose(EVENTS, "And how much is that?", before)[0]
    assert "250 dollars" in fact.text
    assert score >= MATCHED
    assert alone != fact


def test_a_follow_up_about_something_else_leaves_the_question_before_it() -> None:
    before = (ChatMessage("user", "Are you open on Saturday?"),)
    score, fact = choose(EVENTS, "And on Sunday?", before)[0]
    assert "closed on Sundays" in fact.text
    assert score >= MATCHED


def test_plain_facts_without_asks_are_found_by_their_text() -> None:
    sheet = [AgentFact(text="The pool is heated."), AgentFact(text="Breakfast is from 7 to 10.")]
    assert choose(sheet, "Is the pool heated?")[0][1] == sheet[0]


def test_an_empty_sheet_has_nothing_to_choose() -> None:
    assert choose([], "When are you open?") == ()


@pytest.mark.parametrize(("one", "other"), [("prices", "price"), ("cleaned", "cleaning")])
def test_endings_make_no_other_word(one: str, other: str) -> None:
    assert stem(one) == stem(other)


@given(st.text(max_size=80), st.lists(st.text(min_size=1, max_size=30), max_size=6))
def test_scores_are_shares_and_come_best_first(asked: str, texts: list[str]) -> None:
    scores = [score for score, _ in choose([AgentFact(text=text, asks=[text]) for text in texts], asked)]
    assert len(scores) == min(CHOSEN, len(texts))
    assert scores == sorted(scores, reverse=True)
    assert all(0 <= score <= 1.000001 for score in scores)
