"""Measure programs other than Antiphon that answer in rooms, with the callers of `bench.rooms`.

Such a program gets its task as JSON in its last argument, prints the line `ready`, and runs until its standard input
closes. Its descendants are counted with it.
"""

import asyncio
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from bench import measure
from bench.load import Load
from bench.rooms import callers
from composition.room_server import RoomServer

STARTED_WITHIN_S = 60.0
ENDS_WITHIN_S = 20.0


@asynccontextmanager
async def room_server() -> AsyncIterator[dict[str, str]]:
    """Run a livekit-server without rooms; yields its url, key and secret."""
    with tempfile.TemporaryDirectory() as folder:
        server = RoomServer(Path(folder))
        keeping = asyncio.create_task(server.keep())
        try:
            await asyncio.wait_for(server.ready.wait(), STARTED_WITHIN_S)
            yield {"url": server.url, **RoomServer.keys(Path(folder))}
        finally:
            await server.stop()
            await keeping


@asynccontextmanager
async def started(program: Sequence[str], asked: dict[str, Any]) -> AsyncIterator[int]:
    """Run such a program; yields its process id. Raises SystemExit if it ends by itself."""
    process = await asyncio.create_subprocess_exec(
        *program, json.dumps(asked), start_new_session=True,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdin
    assert process.stdout
    try:
        if await asyncio.wait_for(process.stdout.readline(), STARTED_WITHIN_S) != b"ready\n":
            raise SystemExit(f"{' '.join(program)} ended before it was ready")
        yield process.pid
        if process.returncode is not None:
            raise SystemExit(f"{' '.join(program)} ended while it was measured")
        process.stdin.close()
        await asyncio.wait_for(process.wait(), ENDS_WITHIN_S)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.stdin.close()
        await process.wait()


async def live(_kept: object) -> None:
    """Print `ready` and wait until standard input closes, once the program is in its rooms."""
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
    os._exit(0)  # without leaving the rooms in order


async def measured(program: Sequence[str], rooms: int, window_s: float, load: Load, **told: Any) -> dict[str, Any]:
    """Make one run with its own livekit-server. told: further fields of the program's task."""
    async with room_server() as server:
        asked = {**server, "rooms": rooms, "window_s": window_s}
        async with started(program, asked | told) as pid, callers(asked, load) as found_by_callers:
            theft, before, began = measure.Theft(), _spent(pid), time.monotonic()
            await asyncio.sleep(window_s)
            after, took_s = _spent(pid), time.monotonic() - began
            stolen_cores = round(theft.cores, 3)
            pss_mb = sum(map(measure.pss_mb, after))
            found = await found_by_callers()
    cost_s = sum(spent - before.get(pid, 0.0) for pid, spent in after.items())
    return {
        "rooms": rooms,
        "window_s": window_s,
        "core_per_room": round(cost_s / took_s / rooms, 4),
        "turns": found["turns"],
        "answers": len(found["latency_ms"]),
        "latency_ms": measure.percentiles(found["latency_ms"]),
        "join_ms": measure.percentiles(found["join_ms"]),
        "pss_mb": round(pss_mb, 1),
        "processes": len(after),
        "stolen_cores": stolen_cores,
        "machine": measure.machine(),
    }


def _spent(pid: int) -> dict[int, float]:
    """Return the seconds of processor time of a process and of its descendants."""
    spent: dict[int, float] = {}
    with suppress(OSError):  # the process has ended meanwhile
        spent[pid] = measure.cpu_s(pid)
        for children in Path(f"/proc/{pid}/task").glob("*/children"):
            for child in map(int, children.read_text().split()):
                spent |= _spent(child)
    return spent
