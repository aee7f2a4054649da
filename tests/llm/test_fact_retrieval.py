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
    (score, fact, _), *_ = choose(EVENTS, asked)
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
    (score, fact, _), *_ = choose(EVENTS, heard)
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
    score, fact, _ = choose(EVENTS, "And how much is that?", before)[0]
    assert "250 dollars" in fact.text
    assert score >= MATCHED
    assert alone != fact


def test_a_follow_up_about_something_else_leaves_the_question_before_it() -> None:
    before = (ChatMessage("user", "Are you open on Saturday?"),)
    score, fact, _ = choose(EVENTS, "And on Sunday?", before)[0]
    assert "closed on Sundays" in fact.text
    assert score >= MATCHED


@pytest.mark.parametrize(
    ("asked", "answered"),
    [
        ("What does a check-up cost, and can I pay by card?", ["A check-up is 60 dollars, and", "pay by card"]),
        ("what does a check up cost and can I pay by card", ["A check-up is 60 dollars, and", "pay by card"]),
        ("Where are you? And do you take new patients?", ["24 Mill Street", "new patients"]),
        ("Are you open on Saturday and on Sunday?", ["On Saturdays", "closed on Sundays"]),
        ("How much is a cleaning, and how long does it take?", ["85 dollars", "45 minutes"]),
        ("How much is a check-up and a filling?", ["A check-up is 60 dollars, and", "A filling costs"]),
        ("Can I pay by card, and do you take credit cards?", ["pay by card"]),  # one fact answers both
        ("What does a check-up cost?", ["A check-up is 60 dollars, and"]),
        ("Do you treat cats, and do you sell coffee?", []),
    ],
)
def test_each_part_of_a_question_has_its_answer(asked: str, answered: list[str]) -> None:
    answers = [one.fact.text for one in choose(EVENTS, asked) if one.answers]
    assert len(answers) == len(answered)
    assert all(part in text for part, text in zip(answered, answers, strict=True))


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
    chosen = choose([AgentFact(text=text, asks=[text]) for text in texts], asked)
    scores = [one.score for one in chosen]
    answers = [one for one in chosen if one.answers]
    assert len(scores) == min(CHOSEN, len(texts))
    assert list(chosen[: len(answers)]) == answers
    behind = scores if len(answers) < 2 else scores[len(answers) :]  # two answers stand in the order of the question
    assert behind == sorted(behind, reverse=True)
    assert all(0 <= score <= 1.000001 for score in scores)
