"""Free ports of this machine."""

import socket

import pytest

from composition import addresses
from composition.errors import StartFailed


def test_a_free_port_can_be_listened_at() -> None:
    port = addresses.free_port()
    assert port in addresses.SERVER_PORTS
    socket.create_server((addresses.LOOPBACK, port)).close()


def test_no_free_port_is_an_error_with_a_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server((addresses.LOOPBACK, 0)) as taken:
        port = taken.getsockname()[1]
        monkeypatch.setattr(addresses, "SERVER_PORTS", [port])
        monkeypatch.setattr(addresses, "PORT_TRIES", 1)
        with pytest.raises(StartFailed, match=r"^cannot find a free port: .*\. Stop other servers there\.$"):
            addresses.free_port()
