"""Programs that are measured alone: started, watched, and nothing left of them."""

import os
import sys

import pytest

from bench.room_alone import started

READY = "import sys; print('ready', flush=True); "


def program(does: str) -> list[str]:
    return [sys.executable, "-c", does]


async def test_it_lives_until_it_is_told_and_is_gone_then() -> None:
    async with started(program(READY + "sys.stdin.readline()"), {}) as pid:
        os.kill(pid, 0)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


@pytest.mark.parametrize("does", ["", "print('no', flush=True)"])
async def test_one_that_is_not_ready_is_told(does: str) -> None:
    with pytest.raises(SystemExit, match="ended before it was ready"):
        async with started(program(does), {}):
            raise AssertionError
