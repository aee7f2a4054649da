"""Services in the micro convention: found by anybody, and their errors arrive as errors."""

import json

import pytest

from bus import services
from bus.connect import Bus, connect
from bus.errors import NoResponders, ServiceError
from bus.message import Message
from bus.settings import BusSettings


async def shout(message: Message) -> bytes:
    if not message.data:
        raise ServiceError("400", "nothing\nto shout")
    return message.data.upper()


async def test_a_service_answers_refuses_and_is_gone(bus: Bus) -> None:
    async with await services.serve(bus, "shouting", {"shout": ("va1.shout", shout)}):
        assert await bus.request("va1.shout", b"hey", 1.0) == b"HEY"
        with pytest.raises(ServiceError, match=r"^nothing to shout$") as refused:
            await bus.request("va1.shout", b"", 1.0)
        assert refused.value.code == "400"
    with pytest.raises(NoResponders):
        await bus.request("va1.shout", b"hey", 1.0)


async def test_everyone_is_found_with_what_they_tell_of_themselves(bus: Bus, nats: str) -> None:
    async with (
        connect(BusSettings(url=nats)) as other,
        await services.serve(bus, "stt", {"shout": ("va1.shout", shout)}, stats=lambda: {"sessions": 3}),
        await services.serve(other, "stt", {"shout": ("va1.shout", shout)}, stats=lambda: {"sessions": 4}),
    ):
        await bus.flush()
        await other.flush()
        found = await services.everyone(bus)
        assert {service.name for service in found} == {"stt"}
        assert sorted(service.endpoints[0]["data"]["sessions"] for service in found) == [3, 4]


async def test_a_refusal_is_counted_as_an_error_by_the_service(bus: Bus) -> None:
    async with await services.serve(bus, "shouting", {"shout": ("va1.shout", shout)}):
        with pytest.raises(ServiceError):
            await bus.request("va1.shout", b"", 1.0)
        stats = json.loads(await bus.request("$SRV.STATS.shouting", b"", 1.0))
        assert (stats["endpoints"][0]["num_requests"], stats["endpoints"][0]["num_errors"]) == (1, 1)
