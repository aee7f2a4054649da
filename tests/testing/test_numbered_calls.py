"""Calls whose words are counted: nothing is missed in a whole call, and everything that is missing is found."""

from pathlib import Path

from antiphon_testing.numbered_calls import AGENT, numbered_call
from antiphon_testing.platform import open_platform


async def test_a_whole_call_has_no_problems_and_a_lost_number_is_found(tmp_path: Path) -> None:
    async with (
        open_platform(tmp_path, [AGENT]) as home,
        numbered_call(home.bus, home.ingress.url, seed=1) as call,
    ):
        await call.converse(2)
        assert call.problems() == []
        assert call.repeated == 0
        call.said = 3  # as if one more had been said
        assert [problem.partition(":")[0] for problem in call.problems()] == [
            "transcripts",
            "history",
            "heard by the caller",
        ]
