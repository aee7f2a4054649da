"""Talking over the agent, through all five stages with the real recogniser: five calls at once, all in real time.

The figures behind it: `python -m bench.talk_over`.
"""

import asyncio

import pytest

from antiphon_testing.simulated_caller import open_process_platform
from bench.pipeline import percentiles
from bench.talk_over import BREATHS, TRIES, Coughed, Interruption, cough, cough_at, talk_over, talkers

pytestmark = [pytest.mark.local, pytest.mark.realtime]

AT_ONCE = 4
A_WORD = max(len(word) for agent in talkers() for reply in agent.llm.options["replies"] for word in reply.split()) + 1


@pytest.fixture(scope="module")
def heard(engines: None) -> tuple[list[Interruption], Coughed]:
    """What came of twenty answers that were talked over, and of one that was coughed into."""

    async def calls() -> tuple[list[Interruption], Coughed]:
        async with open_process_platform(*talkers()) as open_platform:
            coughs = [cough(*breath) for breath in BREATHS]
            return await asyncio.gather(talk_over(open_platform, TRIES, AT_ONCE), cough_at(open_platform, coughs))

    return asyncio.run(calls())


def test_the_agent_falls_silent_when_it_is_talked_over_and_remembers_what_was_heard(
    heard: tuple[list[Interruption], Coughed],
) -> None:
    tries, _ = heard
    silent_ms = [one.silent_ms for one in tries if one.silent_ms is not None]
    assert len(silent_ms) == TRIES
    assert percentiles(silent_ms)["p95"] <= 300
    for one in tries:
        assert one.cancelled
        assert one.reply.startswith(one.audible)
        assert one.reply.startswith(one.kept)
        assert -1 <= len(one.audible) - len(one.kept) <= A_WORD


def test_a_cough_costs_a_short_hole_and_never_an_answer(heard: tuple[list[Interruption], Coughed]) -> None:
    _, coughed = heard
    assert coughed.noticed >= 3, "the answer never paused: these coughs prove nothing"
    assert len(coughed.holes_ms) == coughed.noticed
    assert max(coughed.holes_ms) <= 1_200
    assert set(coughed.resumed) == {"decided"}
    assert coughed.audible == coughed.reply == coughed.kept
