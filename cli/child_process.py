"""One process of ours: started, restarted when it dies, stopped through its pipe."""

import asyncio
import json
import os
import random
import signal
import socket
import sys
import time
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

from cli.errors import Failed

ENDS_WITHIN_S = 4.0  # calls end within 5 s of SIGTERM, NATS included
SERVER_PORTS = range(20_000, 32_000)  # below those that systems choose from for whoever connects
PORT_TRIES = 100
RESTARTS, RESTARTS_WITHIN_S = 5, 30.0  # a worker that dies more often than this will not live


class Child:
    """One process of ours, restarted when it dies."""

    def __init__(
        self, stage: str, number: int, arguments: list[str], log: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        self.stage = stage
        self.url = ""
        self.ready = asyncio.Event()
        self.stopping = False
        self.process: asyncio.subprocess.Process | None = None
        self._arguments = arguments
        self._environment = environment
        self._log = log / f"{stage}-{number}.log"
        self._deaths: deque[float] = deque(maxlen=RESTARTS)

    async def keep(self) -> None:
        """Run it until `stop`; raises Failed when it does not stay alive."""
        while not self.stopping:
            await self._live_once()
            if self.stopping:
                return
            now = time.monotonic()
            young = len(self._deaths) == RESTARTS and now - self._deaths[0] < RESTARTS_WITHIN_S
            if young or not self.ready.is_set():
                raise Failed(f"the {self.stage} worker does not stay alive: {_last_line(self._log)} (log: {self._log})")
            self._deaths.append(now)

    async def _live_once(self) -> None:
        with self._log.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "cli.main", "run", self.stage, "--json", "--parent", *self._arguments,
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=log,
                env=self._environment,
                start_new_session=True,  # Ctrl-C is for us alone: we end them in their order
            )  # fmt: skip
        assert self.process.stdout
        async for line in self.process.stdout:
            told = json.loads(line)
            self.url = told.get("url", "")
            if self.url and not self.ready.is_set():  # started again it listens where callers know it to be
                self._arguments = [*self._arguments, "--port", str(urlsplit(self.url).port)]
            self.ready.set()
        await self.process.wait()

    async def stop(self) -> None:
        """Close its pipe: it ends its sessions and goes; what has not gone in time is killed."""
        self.stopping = True
        process = self.process
        if process is None or process.returncode is not None:
            return
        assert process.stdin
        process.stdin.close()
        try:
            await asyncio.wait_for(process.wait(), ENDS_WITHIN_S)
        except TimeoutError:
            os.killpg(process.pid, signal.SIGKILL)  # what it started goes with it
            await process.wait()


def _last_line(log: Path) -> str:
    """The last thing a worker said before it died."""
    lines = log.read_text(errors="replace").strip().splitlines() if log.exists() else []
    return lines[-1].removeprefix("error: ") if lines else "it said nothing"


def free_port(kind: int = socket.SOCK_STREAM, host: str = "127.0.0.1") -> int:
    """One that nobody listens at just now, and that no connection will be given before its server starts."""
    for port in random.sample(SERVER_PORTS, k=PORT_TRIES):
        with socket.socket(socket.AF_INET, kind) as probe, suppress(OSError):
            probe.bind((host, port))
            return port
    raise Failed(f"none of {PORT_TRIES} ports at {host} is free")
