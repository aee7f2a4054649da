"""Request/reply services in the NATS micro convention (ADR-32), so that `nats micro ls` shows them."""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any

import msgspec
from nats import micro
from nats.micro.request import Request
from nats.micro.request import ServiceError as MicroError
from nats.micro.service import EndpointConfig, Service

from bus.connect import Bus
from bus.errors import ServiceError
from bus.message import Message, format_headers

VERSION = "0.1.0"
GATHER_WITHIN_S = 1.0
GATHER_QUIET_S = 0.15

Handler = Callable[[Message], Awaitable[bytes]]


class Stats(msgspec.Struct):
    """The STATS answer of one service instance: its name, its id and the data of its endpoints."""

    name: str
    id: str
    endpoints: list[dict[str, Any]] = []


async def serve(
    bus: Bus,
    name: str,
    endpoints: Mapping[str, tuple[str, Handler]],
    *,
    queue: str | None = None,
    stats: Callable[[], Any] | None = None,
) -> AbstractAsyncContextManager[Service]:
    """Start the service `name` with endpoints {verb: (subject, handler)}; leaving the returned context stops it.

    queue: queue group of the instances, `name` by default. stats: returns the `data` of each endpoint in STATS.
    """
    service = await micro.add_service(
        bus.client,
        name=name,
        version=VERSION,
        description=f"antiphon {name}",
        stats_handler=(lambda _endpoint: stats()) if stats else None,
    )
    for verb, (subject, handler) in endpoints.items():
        await service.add_endpoint(
            EndpointConfig(name=verb, subject=subject, handler=_answering(handler), queue_group=queue or name)
        )
    return service


async def everyone(bus: Bus) -> list[Stats]:
    """Return the STATS of every service instance that answers within a second."""
    found = []
    for answer in await bus.gather("$SRV.STATS", b"", GATHER_WITHIN_S, GATHER_QUIET_S):
        try:
            found.append(msgspec.json.decode(answer, type=Stats))
        except msgspec.MsgspecError:
            continue  # another product's service
    return found


def _answering(handler: Handler) -> Callable[[Request], Awaitable[None]]:
    async def answer(request: Request) -> None:
        try:
            block = format_headers(request.headers) if request.headers else b""
            await request.respond(await handler(Message(request.subject, request.data, header_block=block)))
        except ServiceError as refused:
            raise MicroError(refused.code, " ".join(str(refused).split())) from None  # counted as an error

    return answer
