"""An ingress put together from its settings: its endpoint, and addresses that cannot be."""

import asyncio
import socket

import pytest

from antiphon_testing.bus import bus, nats
from bus.connect import Bus
from composition.errors import BadAddress
from composition.ingress import IngressSettings, open_ingress
from composition.worker import WorkerSettings
from schemas import subjects
from transports.websocket import PATH

__all__ = ["bus", "nats"]
WITHIN_S = 10.0
SETTINGS = WorkerSettings(subjects.INGRESS, capacity=1, drain_s=0)


async def test_it_listens_until_it_is_stopped(bus: Bus) -> None:
    async with open_ingress(bus, SETTINGS, IngressSettings()) as opened:
        assert opened.worker.url.endswith(PATH)
        stop = asyncio.Event()
        running = asyncio.create_task(opened.run(stop))
        async with asyncio.timeout(WITHIN_S):
            await opened.ready(registered_within_s=WITHIN_S)  # without rooms there is nothing to wait for
            stop.set()
            await running


async def test_callers_are_offered_the_public_address(bus: Bus) -> None:
    async with open_ingress(bus, SETTINGS, IngressSettings(public_url="wss://voice.example.org/v1/call")) as opened:
        assert opened.worker.url == "wss://voice.example.org/v1/call"


async def test_a_taken_port_is_refused(bus: Bus) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(BadAddress, match=rf"^cannot listen on 127\.0\.0\.1:{port}: ") as refused:
            async with open_ingress(bus, SETTINGS, IngressSettings(port=port)):
                pass
    assert refused.value.setting == "port"
