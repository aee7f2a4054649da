"""Real speech through all five stages, each a process of its own: the reader, the agent and the first words are heard.

The figures behind it: `python -m bench.speech`.
"""

import asyncio

import pytest

from bench.speech import QUESTIONS, READINGS, first_words, read_to, receptionist, round_trip, wrong_words
from tests.kit.phone import exchange, listener
from tests.kit.wer import words

pytestmark = pytest.mark.local


async def test_a_human_reader_is_understood_to_the_last_word() -> None:
    async with exchange(listener("brief", "Yes.")) as house:
        readings = await asyncio.gather(*(read_to(house, "brief", name) for name in READINGS))
    for reading, said in zip(readings, READINGS.values(), strict=True):
        assert reading.wrong <= 0.12, reading.text
        assert words(reading.text)[:5] == words(said)[:5]
        assert words(reading.text)[-5:] == words(said)[-5:]


async def test_what_the_caller_hears_is_what_the_model_said() -> None:
    async with exchange(receptionist()) as house:
        answers = await round_trip(house, QUESTIONS[:3])
    assert len(answers) == 1 + 3
    assert [answer.kept for answer in answers] == [answer.reply for answer in answers]
    assert wrong_words(answers) <= 0.15, answers


async def test_who_speaks_before_the_call_is_answered_is_heard_from_the_first_word() -> None:
    async with exchange(listener("brief", "Yes.")) as house:
        openings = await first_words(house, "brief")
    assert [opening for opening in openings if not opening.whole] == []
