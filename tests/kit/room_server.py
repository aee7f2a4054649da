"""A real livekit-server for tests; without one they are skipped, which says how to get it."""

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

from composition.addresses import free_port
from tests.kit.command import ROOT
from transports.livekit.settings import LiveKitSettings

KEY, SECRET = "devkey", "a-secret-of-thirty-two-characters"
LOOPBACK = "127.0.0.1"
STARTS_WITHIN_S = 20.0
LOOK_EVERY_S = 0.05


def binary() -> str:
    """Where it is; skips the test where it is not."""
    found = shutil.which("livekit-server", path=str(ROOT / ".tools" / "bin")) or shutil.which("livekit-server")
    if found is None:
        pytest.skip("livekit-server is not here: make livekit")
    return found


def settings(url: str, secret: str = SECRET) -> LiveKitSettings:
    """The settings of a LiveKit at `url`."""
    return LiveKitSettings(url=url, key=KEY, secret=SecretStr(secret))


class RoomServer:
    """One server that can be killed and started again at the same address."""

    def __init__(self, folder: Path, host: str = LOOPBACK) -> None:
        self._folder = folder
        self._host = host
        self.port = free_port()
        self._config = folder / "livekit.yaml"
        only = "" if host == LOOPBACK else f", ips: {{includes: [{host}/32]}}"  # among several it would answer from any
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
        return f"ws://{self._host}:{self.port}"

    @property
    def settings(self) -> LiveKitSettings:
        return settings(self.url)

    def start(self) -> None:
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
        """As if the network to it were cut, both ways, for everybody."""
        assert self._process
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process
        self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        if self._process:
            self._process.kill()
            self._process.wait()
            self._process = None


@contextmanager
def room_server(folder: Path, host: str = LOOPBACK) -> Iterator[RoomServer]:
    """A server at a port of its own, gone at the end."""
    server = RoomServer(folder, host)
    server.start()
    try:
        yield server
    finally:
        server.kill()
