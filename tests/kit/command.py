"""`antiphon ...` as a person runs it: a process of its own."""

import asyncio
import os
import sys
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
WITHIN_S = 30.0


class Told(NamedTuple):
    """How a command ended and what it said."""

    code: int
    out: str
    err: str


async def antiphon(*arguments: object, stdin: str = "", **environment: str) -> Told:
    """Run it to its end. `environment` is on top of ours, without what would lead it to another platform."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith("ANTIPHON_")}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "cli.main", *(str(argument) for argument in arguments),
        cwd=ROOT, env={**ours, "NO_COLOR": "1", "COLUMNS": "200", **environment},
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        out, err = await asyncio.wait_for(process.communicate(stdin.encode()), WITHIN_S)
    except TimeoutError:
        process.kill()
        await process.wait()
        raise
    assert process.returncode is not None
    return Told(process.returncode, out.decode(), err.decode())
