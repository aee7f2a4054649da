"""Addresses of this machine: which hosts mean all of them, and which ports are free."""

import random
import socket
from contextlib import suppress

from composition.errors import StartFailed

EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104 - compared, not bound: all addresses of this machine
LOOPBACK = "127.0.0.1"
SERVER_PORTS = range(20_000, 32_000)  # below the range from which systems take ports for outgoing connections
PORT_TRIES = 100


def free_port(kind: int = socket.SOCK_STREAM, host: str = LOOPBACK) -> int:
    """Return a port at which no server listens. Raises StartFailed if 100 ports are in use.

    The system gives no outgoing connection a port of this range, so that the port stays free until its server starts.
    """
    for port in random.sample(SERVER_PORTS, k=PORT_TRIES):
        with socket.socket(socket.AF_INET, kind) as probe, suppress(OSError):
            probe.bind((host, port))
            return port
    raise StartFailed(f"cannot find a free port: {PORT_TRIES} ports at {host} are in use. Stop other servers there.")
