"""Another machine on this one: a network namespace behind a router of its own, which can lose what goes one way.

    with elsewhere() as far, running(folder, "run", "egress", "--nats", url, inside=far.name):
        far.cut("out")

Ours has two addresses for it, so that what listens at ROOMS can be cut off while what listens at BUS is not.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Literal

import pytest

BUS, ROOMS, FAR = "10.213.77.1", "10.213.77.5", "10.213.78.2"
NEAR_GATE, FAR_GATE, FAR_NET = "10.213.77.254", "10.213.78.254", "10.213.78.0/24"
IP_WITHIN_S = 10.0
Way = Literal["out", "in"]  # to ROOMS, from ROOMS

needs_network = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("ip") is None,
    reason="another machine needs root, and ip: apt-get install iproute2",
)


def _ip(words: str, *more: str) -> None:
    subprocess.run(["ip", *words.split(), *more], check=True, capture_output=True, timeout=IP_WITHIN_S)


class Elsewhere:
    """The other machine."""

    def __init__(self, name: str, router: str) -> None:
        self.name = name
        self._router = router

    def cut(self, way: Way) -> None:
        """Lose whatever goes this way, without telling anybody."""
        self._rule("add", way)

    def mend(self, way: Way) -> None:
        self._rule("del", way)

    def _rule(self, change: str, way: Way) -> None:
        sender, receiver = (FAR, ROOMS) if way == "out" else (ROOMS, FAR)
        _ip(f"-n {self._router} rule {change} from {sender} to {receiver} blackhole")


@contextmanager
def elsewhere() -> Iterator[Elsewhere]:
    """One at a time; gone at the end with its cables."""
    far, router = f"far-{os.getpid()}", f"router-{os.getpid()}"
    with ExitStack() as stack:
        for name in (far, router):
            _ip(f"netns add {name}")
            stack.callback(_ip, f"netns del {name}")
            _ip(f"-n {name} link set lo up")
        _ip(f"link add test-near type veth peer name near netns {router}")
        _ip(f"-n {router} link add far type veth peer name near netns {far}")
        for where, address, device in (
            ("", f"{BUS}/24", "test-near"),
            ("", f"{ROOMS}/24", "test-near"),
            (f"-n {router}", f"{NEAR_GATE}/24", "near"),
            (f"-n {router}", f"{FAR_GATE}/24", "far"),
            (f"-n {far}", f"{FAR}/24", "near"),
        ):
            _ip(f"{where} address add {address} dev {device}")
            _ip(f"{where} link set {device} up")
        _ip(f"-n {far} route add default via {FAR_GATE}")
        _ip(f"route add {FAR_NET} via {NEAR_GATE} src {ROOMS}")  # a server at all addresses answers from this one
        _ip(f"netns exec {router} sh -c", "echo 1 >/proc/sys/net/ipv4/ip_forward")
        yield Elsewhere(far, router)
