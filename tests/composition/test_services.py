"""The services put together from their settings."""

import socket
from pathlib import Path

import aiohttp
import pytest

from antiphon_testing.bus import bus, nats
from bus.connect import Bus
from composition.errors import BadAddress
from composition.services import GatewaySettings, open_config, open_gateway
from config_service.client import ConfigClient

__all__ = ["bus", "nats"]


async def test_the_config_service_and_the_gateway_answer(bus: Bus, tmp_path: Path) -> None:
    async with open_config(bus, f"sqlite+aiosqlite:///{tmp_path / 'agents.db'}"):
        built_in = [line.id for line in await ConfigClient(bus).list()]
        async with (
            open_gateway(bus, GatewaySettings()) as url,
            aiohttp.ClientSession() as http,
            http.get(f"{url}v1/agents") as answer,
        ):
            assert (await answer.json())["agents"] == built_in


async def test_a_taken_port_is_refused(bus: Bus) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(BadAddress, match=rf"^cannot listen on 127\.0\.0\.1:{port}: ") as refused:
            async with open_gateway(bus, GatewaySettings(port=port)):
                pass
    assert refused.value.setting == "port"
