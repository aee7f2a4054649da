"""A real livekit-server for tests. Without one, a test is skipped with the remedy."""

import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from pydantic import SecretStr

from antiphon_testing.command import ROOT
from composition.addresses import free_port
from transports.livekit.settings import LiveKitSettings

KEY, SECRET = "devkey", "a-secret-of-thirty-two-characters"
LOOPBACK = "127.0.0.1"
STARTS_WITHIN_S = 20.0
LOOK_EVERY_S = 0.05


def binary() -> str:
    """Return the path of livekit-server; skip the test if it is not installed."""
    found = shutil.which("livekit-server", path=str(ROOT / ".tools" / "bin")) or shutil.which("livekit-server")
    if found is None:
        pytest.skip("livekit-server is not installed: make livekit")
    return found


def settings(url: str, secret: str = SECRET) -> LiveKitSettings:
    """The settings of a LiveKit at `url`."""
    return LiveKitSettings(url=url, key=KEY, secret=SecretStr(secret))


class RoomServer:
    """A server that can be killed and started again at the same address. url: what participants connect to."""

    def __init__(self, folder: Path, host: str = LOOPBACK) -> None:
        self._folder = folder
        self._host = host
        self.port = free_port()
        self._config = folder / "livekit.yaml"
        # A server on a machine with several addresses would answer from any of them.
        only = "" if host == LOOPBACK else f", ips: {{includes: [{host}/32]}}"
        self._config.write_text(
            f"port: {self.port}\n"
            f"bind_addresses: [{host}]\n"
            f"keys: {{{KEY}: {SECRET}}}\n"
            f"rtc: {{tcp_port: {free_port()}, udp_port: {free_port()}, node_ip: {host}{only}}}\n"
            "logging: {level: info}\n"
        )
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Return the address that participants connect to."""
        return f"ws://{self._host}:{self.port}"

    @property
    def settings(self) -> LiveKitSettings:
        """Return the settings of this server for an ingress."""
        return settings(self.url)

    def start(self) -> None:
        """Start the process; return when it accepts connections."""
        with (self._folder / "livekit.log").open("ab") as log:
            self._process = subprocess.Popen([binary(), "--config", str(self._config)], stdout=log, stderr=log)
        until = time.monotonic() + STARTS_WITHIN_S
        while True:
            try:
                socket.create_connection((self._host, self.port), timeout=1).close()
                return
            except OSError:
                assert time.monotonic() < until, (self._folder / "livekit.log").read_text()[-2000:]
                time.sleep(LOOK_EVERY_S)

    def freeze(self) -> None:
        """Stop the process: as if the network to the server were cut for every participant."""
        assert self._process
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Continue the process."""
        assert self._process
        self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """Kill the process; harmless if none runs."""
        if self._process:
            self._process.kill()
            self._process.wait()
            self._process = None


@contextmanager
def room_server(folder: Path, host: str = LOOPBACK) -> Iterator[RoomServer]:
    """Run a server at a free port of `host`."""
    server = RoomServer(folder, host)
    server.start()
    try:
        yield server
    finally:
        server.kill()
