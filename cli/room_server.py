"""The livekit-server of one machine, run as a child beside nats-server: found, configured, kept alive."""

import asyncio
import json
import os
import secrets
import shutil
import socket
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from bus.server import KEEPER
from cli.child_process import Child, free_port
from cli.errors import Failed

HOST = "127.0.0.1"
TOOLS = Path(__file__).parents[1] / ".tools" / "bin"
SECRET_BYTES = 32  # what LiveKit asks for at least
LOOK_EVERY_S = 0.02

ENDED_BY = "KILL"  # it has nothing to keep; told to end it would wait until everybody has left its rooms


class RoomServer(Child):
    """A livekit-server at free ports of this machine, for this machine. `webhook`: where it posts what happens."""

    def __init__(self, data: Path, webhook: str = "") -> None:
        logs = data / "logs"
        logs.mkdir(exist_ok=True)
        super().__init__("livekit", 0, [], logs)
        self._binary = binary()
        self._folder = data / "livekit"
        port = free_port()
        self.url = f"ws://{HOST}:{port}"
        key, secret = self.keys(data).values()
        self._config: dict[str, Any] = {
            "port": port,
            "rtc": {"tcp_port": free_port(), "udp_port": free_port(socket.SOCK_DGRAM)},
            "keys": {key: secret},
            "logging": {"level": "info"},
        }
        if webhook:
            self._config["webhook"] = {"api_key": key, "urls": [webhook]}

    @staticmethod
    def keys(data: Path) -> dict[str, str]:
        """Key and secret of the server in a data folder; made at its first start, and the same from then on."""
        path = data / "livekit" / "keys.json"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            with _secretly(path) as file:
                json.dump({"key": "antiphon", "secret": secrets.token_urlsafe(SECRET_BYTES)}, file)
        found: dict[str, str] = json.loads(path.read_text())
        return found

    def command(self) -> list[str]:
        """Program and arguments, with the file that they name."""
        config = self._folder / "livekit.json"  # JSON is YAML; the secret stays out of the list of processes
        config.unlink(missing_ok=True)
        with _secretly(config) as file:
            json.dump(self._config, file, indent=2)
        return [self._binary, "--dev", "--bind", HOST, "--node-ip", HOST, "--config", str(config)]

    async def _live_once(self) -> None:
        with self._log.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                "sh", "-c", KEEPER, ENDED_BY, *self.command(),
                stdin=asyncio.subprocess.PIPE, stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip
        answering = asyncio.create_task(self._answers())
        try:
            await self.process.wait()
        finally:
            answering.cancel()

    async def _answers(self) -> None:
        """Sets `ready` once the server takes connections."""
        while True:
            with suppress(OSError):
                _, writer = await asyncio.open_connection(HOST, self._config["port"])
                writer.close()
                self.ready.set()
                return
            await asyncio.sleep(LOOK_EVERY_S)


def binary() -> str:
    """The path of livekit-server; raises Failed that says how to get it."""
    ours = TOOLS / "livekit-server"
    found = str(ours) if ours.exists() else shutil.which("livekit-server")
    if not found:
        raise Failed(
            "livekit-server is not here: `make livekit` builds it where Go is; docs/livekit.md has other ways, "
            "and --livekit-url uses one that runs elsewhere"
        )
    return found


def _secretly(path: Path) -> IO[str]:
    """A new file that nobody else may read."""
    return open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w")
