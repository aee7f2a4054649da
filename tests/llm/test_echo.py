"""Words that the agent speaks and the caller's line brings back are not the caller's; all others are."""

import pytest
from msgspec.structs import replace

from schemas.audio import CALLER_HZ
from session.entries import Segment, Turn
from session.state import SessionState
from stages.llm.echo import Echo, Place, alike, caller_words, matched, place, spoken_words

GREETING = "Good morning, this is the dental practice. How may I help you?"
OFFER = "Would you like to come on Monday or on Tuesday?"
GREETING_MS, OFFER_MS = 4_000, 3_000


def spoken(playback: str = "playing", heard_ms: int = OFFER_MS) -> SessionState:
    """A session in which the agent has greeted and makes an offer, of which `heard_ms` were heard."""
    greeting = Turn(answers=-1, playing=1, playback="ended", heard_ms=GREETING_MS, heard=GREETING)
    offer = Turn(answers=0, playing=2, playback=playback, heard_ms=heard_ms)  # type: ignore[arg-type]
    return SessionState(
        turns={
            1: _with(greeting, GREETING, GREETING_MS),
            2: _with(offer, OFFER, OFFER_MS),
        }
    )


def _with(turn: Turn, text: str, duration_ms: int) -> Turn:
    return replace(turn, segments={0: Segment(text, duration_ms)})


def judged(text: str, *, turn: int = 2, at_ms: int = 1_500, silent_ms: int = 0, echoes: bool = False) -> str:
    """What is the caller's of an utterance that began at this position, once the agent has finished."""
    echo = Echo(echoes=echoes)
    echo.started(0, Place(turn, at_ms, silent_ms))
    return echo.own_words(spoken(), 0, text, Place(2, OFFER_MS), final=True)


@pytest.mark.parametrize("text", ["like to come on Monday", "Would you like to come?", "like to come on Mandy or"])
@pytest.mark.parametrize("echoes", [False, True])
def test_words_that_the_agent_is_speaking_are_not_the_callers(text: str, echoes: bool) -> None:
    assert judged(text, echoes=echoes) == ""


@pytest.mark.parametrize("text", ["Monday.", "On Tuesday?", "No.", "What about Wednesday?", "Can I come on Friday?"])
def test_a_caller_without_echo_may_repeat_a_word_or_two(text: str) -> None:
    assert judged(text) == text


@pytest.mark.parametrize("text", ["On Tuesday.", "I would like to come on Tuesday.", "Monday or Tuesday, you say?"])
@pytest.mark.parametrize("echoes", [False, True])
def test_an_answer_in_the_words_of_the_question_is_the_callers(text: str, echoes: bool) -> None:
    assert judged(text, at_ms=OFFER_MS + 900, silent_ms=900, echoes=echoes) == text


@pytest.mark.parametrize("text", ["Good mor", "Eh?", "Bing.", "good morning", "This is the", "Is the dental practise"])
def test_the_first_words_of_a_call_come_back_misheard(text: str) -> None:
    assert judged(text, turn=1, at_ms=400) == ""


@pytest.mark.parametrize("text", ["Help.", "The practice.", "Good morning."])
def test_a_prompt_answer_to_the_first_turn_is_the_callers(text: str) -> None:
    assert judged(text, turn=1, at_ms=GREETING_MS, silent_ms=200) == text


@pytest.mark.parametrize("text", ["Hello?", "Wait.", "I want a", "Can you hear me?"])
def test_a_caller_may_speak_into_the_first_words(text: str) -> None:
    assert judged(text, turn=1, at_ms=400) == text


@pytest.mark.parametrize(
    ("text", "own"),
    [
        ("Would you like to come wait, I have a question", "wait, I have a question"),
        ("Would you like some tea", ""),
        ("on Monday. How much does it cost on Monday?", "How much does it cost on Monday?"),
        ("come on stop", "stop"),
        ("to come on Tuesday maybe", ""),
        ("I want to know the price.", "I want to know the price."),
    ],
)
def test_over_echo_the_callers_words_remain(text: str, own: str) -> None:
    assert judged(text, echoes=True) == own


def test_a_line_is_known_to_echo_once_three_words_came_back() -> None:
    echo, state = Echo(), spoken()
    for utterance, (text, known) in enumerate([("Good", False), ("morning this", True), ("practice", True)]):
        echo.started(utterance, Place(1, 500 + 800 * utterance))
        for final in (False, True):
            assert echo.own_words(state, utterance, text, Place(1, 1_500 + 800 * utterance), final=final) == ""
        assert echo.echoes is known


def test_what_is_kept_is_bounded() -> None:
    echo = Echo()
    for utterance in range(10 * CALLER_HZ):
        echo.started(utterance, Place(1, utterance))
    assert len(echo._onsets) < 100


def test_nothing_is_echo_before_the_agent_has_sounded() -> None:
    assert Echo().own_words(SessionState(), 0, "Hello, hello?", Place(0, 0), final=True) == "Hello, hello?"


def test_the_agent_is_where_its_last_position_and_the_time_since_put_it() -> None:
    assert place(spoken(heard_ms=1_000), 300) == Place(2, 1_300, 0)
    assert place(spoken("paused", 1_000), 300) == Place(2, 1_000, 0)
    assert place(spoken("ended", OFFER_MS), 300) == Place(2, OFFER_MS + 300, 300)
    assert place(SessionState(), 300) == Place(0, 0, 0)


def test_the_words_between_two_positions_cross_turns() -> None:
    words = spoken_words(spoken(), Place(1, 3_000), Place(2, 1_500))
    assert words[-5:] == ("would", "you", "like", "to", "come")
    assert words[:2] in {("may", "i"), ("i", "help"), ("how", "may")}


def test_words_are_alike_that_a_recognizer_confuses() -> None:
    assert alike("opening", "open")
    assert alike("mandy", "monday")
    assert not alike("two", "to")
    assert not alike("morning", "evening")
    assert matched(("wear", "open"), ("we", "are", "open")) == {1}
    assert caller_words("so-so, no", ("so", "so", "no"), {0, 1}, 2) == "no"
