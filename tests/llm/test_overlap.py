"""A reply that another model continues: no word is doubled and none is missing, wherever it was cut."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.llm.overlap import Overlap

REPLY = (
    "Yes, of course. We're open from 9 to 12.30 on Monday! After that, Dr. Meier is away until noon; please call "
    "again then. “Really?” you may ask. Really, because we're closed. Is that all right?"
)
SENTENCES = [
    "Yes, of course.",
    "We're open from 9 to 12.30 on Monday!",
    "After that, Dr. Meier is away until noon; please call again then.",
    "“Really?” you may ask.",
    "Really, because we're closed.",
    "Is that all right?",
]


def passed(spoken: list[str], text: str, pieces: list[int]) -> str:
    overlap, out, at = Overlap(spoken), "", 0
    for size in pieces:
        out += overlap.feed(text[at : at + size])
        at += size
    return out + overlap.feed(text[at:]) + overlap.flush()


def words(text: str) -> list[str]:
    return re.findall(r"\w+", text)


def repeated(behaviour: str, cut: int) -> list[str]:
    """Return the sentences that a model gives when the first `cut` were spoken."""
    first = {"continues": cut, "restarts": 0, "repeats the last sentence": cut - 1}[behaviour]
    return SENTENCES[first:]


@pytest.mark.parametrize("behaviour", ["continues", "restarts", "repeats the last sentence"])
@pytest.mark.parametrize("cut", range(1, len(SENTENCES) + 1))
@given(st.lists(st.integers(1, 12), max_size=60))
def test_no_word_is_doubled_or_missing(behaviour: str, cut: int, pieces: list[int]) -> None:
    again = " ".join(repeated(behaviour, cut))
    rest = passed(SENTENCES[:cut], again, pieces)
    assert words(" ".join(SENTENCES[:cut])) + words(rest) == words(REPLY)
    assert rest == " ".join(SENTENCES[cut:])


@pytest.mark.parametrize(
    ("spoken", "text", "rest"),
    [
        ([], "Hello there.", "Hello there."),
        (["Hello there."], "", ""),
        (["Hello there."], "Hello", "Hello"),  # no whole repetition
        (["Hello there."], "HELLO, there! We are open.", "We are open."),
        (["Hello there."], "**Hello there.** We are open.", "We are open."),
        (["Hello there.", "Bye."], "Hello there. See you.", "Hello there. See you."),
        (["It costs nothing."], "It costs nothing. $5 is the deposit.", "$5 is the deposit."),
        (["We are open."], "We are opening at nine.", "We are opening at nine."),
        (["今日は休みです。"], "今日は休みです。明日どうぞ。", "明日どうぞ。"),
        (["Let me see,"], "Let me see, we open at nine.", "we open at nine."),
        ([""], "Hello.", "Hello."),
    ],
)
def test_only_a_whole_repetition_is_dropped(spoken: list[str], text: str, rest: str) -> None:
    for size in range(1, len(text) + 1):
        assert passed(spoken, text, [size] * len(text)) == rest
