"""Programs that answer in rooms and are not the product, measured with the callers of `bench.rooms`.

Such a program gets what it is to do as a line of JSON in its last argument, says `ready` in a line, and lives until its
stdin closes. The work of all processes below it is counted.
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
    """A livekit-server with nobody in it: its url, key and secret."""
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
    """The process of such a program. Raises SystemExit if it ends by itself; nothing of it is left at the end."""
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
    """What such a program does once it is in its rooms: say so, and keep them until its stdin closes."""
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
    os._exit(0)  # nobody is to be told goodbye


async def measured(program: Sequence[str], rooms: int, window_s: float, load: Load, **told: Any) -> dict[str, Any]:
    """One run, with a livekit-server of its own. told: what else the program is to know."""
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
    """Seconds of processor time of a process and of all below it."""
    spent: dict[int, float] = {}
    with suppress(OSError):  # it has ended meanwhile
        spent[pid] = measure.cpu_s(pid)
        for children in Path(f"/proc/{pid}/task").glob("*/children"):
            for child in map(int, children.read_text().split()):
                spent |= _spent(child)
    return spent
