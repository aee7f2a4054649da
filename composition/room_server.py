"""The livekit-server of one machine, run as a child process beside nats-server."""

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
from composition.addresses import LOOPBACK, free_port
from composition.child_process import Child
from composition.errors import StartFailed

TOOLS = Path(__file__).parents[1] / ".tools" / "bin"
SECRET_BYTES = 32  # the shortest secret that LiveKit accepts without a warning
CONNECT_EVERY_S = 0.02

ENDED_BY = "KILL"  # it keeps nothing; at SIGTERM it would wait until every participant has left its rooms


class RoomServer(Child):
    """A livekit-server at free ports of this machine. webhook: the URL to which it posts events of rooms."""

    def __init__(self, data: Path, webhook: str = "") -> None:
        """Raises StartFailed if livekit-server is not installed."""
        logs = data / "logs"
        logs.mkdir(exist_ok=True)
        super().__init__("livekit", 0, [], logs)
        self._binary = binary()
        self._folder = data / "livekit"
        port = free_port()
        self.url = f"ws://{LOOPBACK}:{port}"
        key, secret = self.keys(data).values()
        self._config: dict[str, Any] = {  # Any: the server's own file format
            "port": port,
            "rtc": {"tcp_port": free_port(), "udp_port": free_port(socket.SOCK_DGRAM)},
            "keys": {key: secret},
            "logging": {"level": "info"},
        }
        if webhook:
            self._config["webhook"] = {"api_key": key, "urls": [webhook]}

    @staticmethod
    def keys(data: Path) -> dict[str, str]:
        """Return `{key, secret}` of the server in a data folder; the first call makes them."""
        path = data / "livekit" / "keys.json"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            with _private_file(path) as file:
                json.dump({"key": "antiphon", "secret": secrets.token_urlsafe(SECRET_BYTES)}, file)
        found: dict[str, str] = json.loads(path.read_text())
        return found

    def command(self) -> list[str]:
        """Write the server's configuration; return its program and arguments."""
        config = self._folder / "livekit.json"  # JSON is YAML; a file keeps the secret out of the list of processes
        config.unlink(missing_ok=True)
        with _private_file(config) as file:
            json.dump(self._config, file, indent=2)
        return [self._binary, "--dev", "--bind", LOOPBACK, "--node-ip", LOOPBACK, "--config", str(config)]

    async def _live_once(self) -> None:
        with self._log.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                "sh", "-c", KEEPER, ENDED_BY, *self.command(),
                stdin=asyncio.subprocess.PIPE, stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip
        connecting = asyncio.create_task(self._until_it_accepts())
        try:
            await self.process.wait()
        finally:
            connecting.cancel()

    async def _until_it_accepts(self) -> None:
        """Set `ready` once the server accepts connections."""
        while True:
            with suppress(OSError):
                _, writer = await asyncio.open_connection(LOOPBACK, self._config["port"])
                writer.close()
                self.ready.set()
                return
            await asyncio.sleep(CONNECT_EVERY_S)


def binary() -> str:
    """Return the path of livekit-server. Raises StartFailed if it is not installed."""
    built = TOOLS / "livekit-server"
    found = str(built) if built.exists() else shutil.which("livekit-server")
    if not found:
        raise StartFailed(
            "cannot start rooms: livekit-server is not installed. `make livekit` builds it where Go is; "
            "docs/livekit.md has other ways, and --livekit-url uses one that runs elsewhere."
        )
    return found


def _private_file(path: Path) -> IO[str]:
    """Open a new file that only this user may read."""
    return open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w")
