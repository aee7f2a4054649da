"""Which callers an ingress takes, while the config service is there and while it is unavailable."""

import asyncio
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from antiphon_testing.agents import scripted_agent
from antiphon_testing.bus import WITHIN_S
from bus.connect import Bus
from config_service.client import ConfigClient
from config_service.service import open_service
from schemas import control, subjects
from stages.ingress.stage import Ingress
from stages.runtime.worker import Worker
from transports import websocket


class Front:
    """An ingress worker's front, without the stages behind it."""

    def __init__(self, bus: Bus) -> None:
        self.worker = Worker(bus, subjects.INGRESS, 10, drain_s=0)
        self._ingress = Ingress(self.worker, ConfigClient(bus))

    async def claim(self, agent: str) -> control.SessionOffer:
        answer = await self._ingress.answer_claim(control.encode(control.ClaimSession(agent)))
        return control.decode(answer, control.SessionOffer)

    async def dial(self, agent: str) -> dict[str, Any]:
        """The first message that a caller gets who dials without a claim."""
        async with (
            websocket.serve(self._ingress.answer, "127.0.0.1", 0) as url,
            aiohttp.ClientSession() as http,
            http.ws_connect(url, params={"agent": agent}) as socket,
        ):
            message: dict[str, Any] = await asyncio.wait_for(socket.receive_json(), WITHIN_S)
            return message


@pytest.fixture
def front(bus: Bus) -> Front:
    return Front(bus)


async def test_without_the_service_no_caller_reaches_another_agent_than_the_one_they_called(front: Front) -> None:
    line = await front.claim("desk")
    assert (line.refused, line.url) == ("agent_unavailable", "")
    assert line.detail == "cannot open agent desk: its document is unavailable now. Try again in a moment."
    assert await front.dial("desk") == {"type": "error", "message": line.detail}


async def test_an_agent_that_never_existed_is_refused_as_soon_as_the_service_says_so(
    front: Front, bus: Bus, tmp_path: Path
) -> None:
    assert (await front.claim("nobody")).refused == "agent_unavailable"
    async with open_service(bus, f"sqlite:///{tmp_path / 'antiphon.db'}"):
        line = await front.claim("nobody")
        assert line.refused == "unknown_agent"
        assert "no agent 'nobody'" in line.detail
        assert await front.dial("nobody") == {"type": "error", "message": line.detail}


async def test_an_agent_that_was_read_before_is_called_while_the_service_is_away(
    front: Front, bus: Bus, tmp_path: Path
) -> None:
    async with open_service(bus, f"sqlite:///{tmp_path / 'antiphon.db'}"):
        await ConfigClient(bus).set([scripted_agent("desk")])
        assert (await front.claim("desk")).refused is None
    assert (await front.claim("desk")).refused is None
