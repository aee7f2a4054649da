"""Commands of `antiphon` as users run them: each in a process of its own."""

import asyncio
import sys
from pathlib import Path
from typing import NamedTuple

from antiphon_testing.environment import without_antiphon

ROOT = Path(__file__).parents[1]  # of the checkout, where the packages are
COMMAND = (sys.executable, "-m", "cli.main")
WITHIN_S = 30.0  # seconds; no command takes longer unless it hangs


class Finished(NamedTuple):
    """How a command ended: its exit code, standard output and standard error."""

    code: int
    out: str
    err: str


async def antiphon(*arguments: object, stdin: str = "", **environment: str) -> Finished:
    """Run a command to its end. Raises TimeoutError after 30 s.

    environment: added to the test's own without `ANTIPHON_*`, which would lead the command to another platform.
    """
    process = await asyncio.create_subprocess_exec(
        *COMMAND, *(str(argument) for argument in arguments),
        cwd=ROOT, env={**without_antiphon(), "NO_COLOR": "1", "COLUMNS": "200", **environment},
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        out, err = await asyncio.wait_for(process.communicate(stdin.encode()), WITHIN_S)
    except TimeoutError:
        process.kill()
        await process.wait()
        raise
    assert process.returncode is not None
    return Finished(process.returncode, out.decode(), err.decode())
