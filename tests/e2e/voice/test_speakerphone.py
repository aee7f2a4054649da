"""The agent's own sound comes back into the call: it neither answers itself nor stops, but the caller can stop it.

The figures behind it: `python -m bench.speakerphone`.
"""

import asyncio

import pytest

from antiphon_testing.simulated_caller import open_process_platform
from bench.speakerphone import QUESTIONS, agent, call

pytestmark = [pytest.mark.local, pytest.mark.realtime]


async def test_an_agent_that_hears_itself_speaks_on_until_the_caller_interrupts() -> None:
    async with open_process_platform(agent()) as platform:
        loud, quiet = await asyncio.gather(*(call(platform, level_db, QUESTIONS[:1]) for level_db in (-20, -40)))
    for one in (loud, quiet):
        assert one.greeted, one
        assert one.stopped, one
        assert one.answered, one
