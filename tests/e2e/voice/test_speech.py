"""Real speech through all five stages, each a process of its own: the reader, the agent and the first words are heard.

All of it at once, in real time. The figures behind it: `python -m bench.speech`.
"""

import asyncio
from typing import NamedTuple

import pytest

from antiphon_testing.agents import listening_agent
from antiphon_testing.simulated_caller import open_process_platform
from antiphon_testing.wer import words
from bench.speech import (
    QUESTIONS,
    READINGS,
    Answer,
    Opening,
    Reading,
    first_words,
    read_to,
    receptionist,
    round_trip,
    wrong_words,
)

pytestmark = [pytest.mark.local, pytest.mark.realtime]


class Heard(NamedTuple):
    """What was heard of two readers, of the agent, and of callers who speak before the call is answered."""

    readings: list[Reading]
    answers: list[Answer]
    openings: list[Opening]


@pytest.fixture(scope="module")
def heard(engines: None) -> Heard:
    async def calls() -> Heard:
        async with open_process_platform(listening_agent("brief", "Yes."), receptionist()) as open_platform:
            readings = asyncio.gather(*(read_to(open_platform, "brief", name) for name in READINGS))
            return Heard(
                *await asyncio.gather(
                    readings, round_trip(open_platform, QUESTIONS[:3]), first_words(open_platform, "brief")
                )
            )

    return asyncio.run(calls())


def test_a_human_reader_is_understood_to_the_last_word(heard: Heard) -> None:
    for reading, said in zip(heard.readings, READINGS.values(), strict=True):
        assert reading.wrong <= 0.12, reading.text
        assert words(reading.text)[:5] == words(said)[:5]
        assert words(reading.text)[-5:] == words(said)[-5:]


def test_what_the_caller_hears_is_what_the_model_said(heard: Heard) -> None:
    assert len(heard.answers) == 1 + 3
    assert [answer.kept for answer in heard.answers] == [answer.reply for answer in heard.answers]
    assert wrong_words(heard.answers) <= 0.15, heard.answers


def test_who_speaks_before_the_call_is_answered_is_heard_from_the_first_word(heard: Heard) -> None:
    assert [opening for opening in heard.openings if not opening.whole] == []
