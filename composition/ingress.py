"""Put a worker of ingress together: its websocket endpoint, its rooms, its config client."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from bus import journal
from bus.connect import Bus
from composition.addresses import EVERYWHERE, LOOPBACK
from composition.errors import BadAddress, cannot_listen
from composition.worker import OpenWorker, WorkerSettings
from config_service.client import ConfigClient
from stages.ingress.stage import Ingress
from stages.runtime.worker import Worker
from transports import websocket
from transports.null import Simulate
from transports.transport import RoomTransport


@dataclass(frozen=True)
class IngressSettings:
    """How callers reach an ingress.

    host, port: where it listens; port 0 is any free port. public_url: the address that callers use, if another.
    rooms: None for an ingress without rooms. simulate: makes the callers of transport `null`; None allows none.
    """

    host: str = LOOPBACK
    port: int = 0
    public_url: str = ""
    rooms: RoomTransport | None = None
    simulate: Simulate | None = None


@asynccontextmanager
async def open_ingress(bus: Bus, settings: WorkerSettings, ingress: IngressSettings) -> AsyncIterator[OpenWorker]:
    """Open the websocket endpoint; `worker.url` is its address. Raises BadAddress."""
    reached_at = bus.address if ingress.host in EVERYWHERE else ingress.host
    if not (reached_at or ingress.public_url):
        raise BadAddress(f"cannot derive a public address from host {ingress.host}", "public_url")
    worker = Worker(bus, settings.stage, settings.capacity, settings.drain_s)
    await journal.ensure(bus)
    role = Ingress(worker, ConfigClient(bus), ingress.rooms, ingress.simulate)
    async with AsyncExitStack() as stack:
        serving = websocket.serve(role.answer, ingress.host, ingress.port, reached_at)
        try:
            url = await stack.enter_async_context(serving)
        except OSError as error:
            raise cannot_listen(ingress.host, ingress.port, error) from None
        worker.url = ingress.public_url or url
        yield OpenWorker(worker, role, ingress.rooms.registered if ingress.rooms else None)
