"""One child process of a platform: started, restarted when it dies, stopped through its pipe."""

import asyncio
import json
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from composition.errors import StartFailed

ENDS_WITHIN_S = 4.0  # calls end within 5 s of SIGTERM, NATS included
RESTARTS, RESTARTS_WITHIN_S = 5, 30.0  # a process that dies more often than this will not stay alive


class Child:
    """`antiphon run STAGE` as a child process, restarted when it dies.

    url: where the process listens, from its ready line. ready: set at its first ready line.
    """

    def __init__(
        self, stage: str, number: int, arguments: list[str], logs: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        """number: of the process within its stage, for the log's name. environment: None inherits this process's."""
        self.stage = stage
        self.url = ""
        self.ready = asyncio.Event()
        self.stopping = False
        self.process: asyncio.subprocess.Process | None = None
        self._arguments = arguments
        self._environment = environment
        self._log = logs / f"{stage}-{number}.log"
        self._deaths: deque[float] = deque(maxlen=RESTARTS)

    async def keep(self) -> None:
        """Run the process until `stop`. Raises StartFailed when it does not stay alive."""
        while not self.stopping:
            await self._live_once()
            if self.stopping:
                return
            now = time.monotonic()
            often = len(self._deaths) == RESTARTS and now - self._deaths[0] < RESTARTS_WITHIN_S
            if often or not self.ready.is_set():
                raise StartFailed(
                    f"the {self.stage} worker does not stay alive: {_last_line(self._log)} (log: {self._log})"
                )
            self._deaths.append(now)

    async def _live_once(self) -> None:
        with self._log.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "cli.main", "run", self.stage, "--json", "--parent", *self._arguments,
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=log,
                env=self._environment,
                start_new_session=True,  # Ctrl-C reaches the parent alone, which ends its children in their order
            )  # fmt: skip
        assert self.process.stdout
        async for line in self.process.stdout:
            self.url = json.loads(line).get("url", "")
            if self.url and not self.ready.is_set():  # started again, it must listen where callers know it to be
                self._arguments = [*self._arguments, "--port", str(urlsplit(self.url).port)]
            self.ready.set()
        await self.process.wait()

    async def stop(self) -> None:
        """Close the process's pipe: it ends its sessions and exits. Kill it if it has not within 4 s."""
        self.stopping = True
        process = self.process
        if process is None or process.returncode is not None:
            return
        assert process.stdin
        process.stdin.close()
        try:
            await asyncio.wait_for(process.wait(), ENDS_WITHIN_S)
        except TimeoutError:
            os.killpg(process.pid, signal.SIGKILL)  # with the processes that it started
            await process.wait()


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines() if log.exists() else []
    return lines[-1].removeprefix("error: ") if lines else "its log is empty"
