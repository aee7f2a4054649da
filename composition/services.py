"""Put the services together that no session claims: config and gateway."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from types import MappingProxyType

from bus.connect import Bus
from composition.addresses import LOOPBACK
from composition.errors import cannot_listen

CONFIG, GATEWAY = "config", "gateway"
SERVICES = (CONFIG, GATEWAY)


@dataclass(frozen=True)
class GatewaySettings:
    """How browsers reach a gateway.

    host, port: where it listens; port 0 is any free port. names: host names of the gateway, beside its addresses.
    livekit_url: the LiveKit server that pages connect to; empty without rooms.
    """

    host: str = LOOPBACK
    port: int = 0
    names: tuple[str, ...] = ()
    livekit_url: str = ""


@asynccontextmanager
async def open_config(
    bus: Bus, database_url: str, variables: Mapping[str, str] = MappingProxyType({})
) -> AsyncIterator[None]:
    """Serve agents from a database. Raises StoreUnavailable.

    variables: of the environment; `ANTIPHON_DEFAULT_<PATH>` are below every agent. Raises BadDocument for a wrong one.
    """
    from config_service.layers import read_environment  # each service imports its own package only
    from config_service.service import open_service

    async with open_service(bus, database_url, read_environment(variables)):
        yield


@asynccontextmanager
async def open_gateway(bus: Bus, settings: GatewaySettings) -> AsyncIterator[str]:
    """Serve the page and the HTTP API; yields the page's URL. Raises BadAddress."""
    from gateway.serve import serve

    async with AsyncExitStack() as stack:
        serving = serve(bus, settings.host, settings.port, settings.names, settings.livekit_url)
        try:
            url = await stack.enter_async_context(serving)
        except OSError as error:
            raise cannot_listen(settings.host, settings.port, error) from None
        yield url
