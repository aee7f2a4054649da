"""Small talk is answered as small talk, and only small talk is."""

import pytest

from stages.llm import small_talk as said
from stages.llm.contract import ChatMessage
from stages.llm.small_talk import courtesy


@pytest.mark.parametrize(
    ("utterance", "answer"),
    [
        ("Hi there, good morning.", said.HELLO),
        ("Great, thanks a lot, bye.", said.GOODBYE),
        ("All right. Thank you very much. Good-by,", said.GOODBYE),
        ("No thanks, that's all.", said.GOODBYE),
        ("Thank you so much!", said.WELCOME),
        ("Yes please.", said.GO_ON),
        ("", said.NOT_CAUGHT),
    ],
)
def test_a_courtesy_is_returned(utterance: str, answer: str) -> None:
    assert courtesy(utterance) == answer


@pytest.mark.parametrize("utterance", ["What time do you open?", "Hello, is parking free?", "Thanks, and the price?"])
def test_a_question_is_no_courtesy_however_polite(utterance: str) -> None:
    assert courtesy(utterance) is None


def test_what_was_said_last_is_said_again() -> None:
    assert courtesy("Sorry, what was that?", (ChatMessage("assistant", "We close at six."),)) == "We close at six."


def test_yes_to_the_offer_of_a_person_connects() -> None:
    offer = ChatMessage("assistant", "I don't have that here, but I can connect you with a colleague.")
    assert courtesy("Yes, please.", (offer,)) == said.CONNECTS
