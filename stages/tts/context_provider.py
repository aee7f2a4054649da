"""The provider of a vendor whose turns share websockets: what Cartesia, ElevenLabs and Deepgram have in common."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Generic, TypeVar

from stages.runtime.providers import ProviderContext, parse_options
from stages.runtime.vendor_http import Endpoint, VendorHttp, open_http
from stages.tts.context_turn import ContextSynthesizer, Wire
from stages.tts.shared_socket import SocketPool, open_pool
from stages.tts.voice_options import VoiceOptions

Options = TypeVar("Options", bound=VoiceOptions)


class ContextProvider(Generic[Options]):
    """The sockets of one worker. variable: of the key. wire: the messages of a session with its options."""

    capacity = None

    def __init__(
        self,
        http: VendorHttp,
        pool: SocketPool,
        variable: str,
        options: type[Options],
        wire: Callable[[Endpoint, Options], Wire],
    ) -> None:
        self._http = http
        self._pool = pool
        self._variable = variable
        self._options = options
        self._wire = wire

    @asynccontextmanager
    async def open(self, options: Mapping[str, Any]) -> AsyncIterator[ContextSynthesizer]:
        """Open a voice. Raises ProviderMissing that names the key's variable if the vendor needs one.

        Any: options come from an agent document and get their types here.
        """
        chosen = parse_options(self._options, options)
        wire = self._wire(await self._http.endpoint(self._variable, chosen.base_url), chosen)
        async with self._pool.session(wire.target):
            yield ContextSynthesizer(self._pool, wire)


@asynccontextmanager
async def open_context_provider(
    context: ProviderContext,
    variable: str,
    home: str,
    options: type[Options],
    wire: Callable[[Endpoint, Options], Wire],
) -> AsyncIterator[ContextProvider[Options]]:
    """Open a provider, which connects when a session opens. home: the vendor's own URL."""
    async with open_http(context, {variable: home}) as http, open_pool() as pool:
        yield ContextProvider(http, pool, variable, options, wire)
