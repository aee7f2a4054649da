"""Websockets to vendors: a bounded queue of messages to send, and one kind of error for every way to fail.

The connection is one of `vendor_http.py`: no redirect, no private address that the operator did not allow, no key for
another host.

    async with open_socket(await http.endpoint(KEY, url), "Acme", "/listen", headers=..., query=...) as socket:
        socket.send(pcm)                            # a plain call
        async for message in socket.messages():     # raises ProviderError as soon as the connection fails
            result = decode(DECODER, message)
"""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TypeVar

import aiohttp
import msgspec
from aiohttp import WSMsgType

from schemas.events import ProviderErrorKind
from stages.runtime.http_status import kind_of, retry_after_s
from stages.runtime.providers import ProviderError
from stages.runtime.vendor_http import Endpoint

CONNECT_S = 3.0  # a handshake across an ocean takes 0.5 s
HEARTBEAT_S = 10.0  # between pings; a peer that is gone without a word is noticed after one and a half of them
CLOSE_WITHIN_S = 0.3  # a vendor that does not answer a close frame must not keep the session
MOST_QUEUED = 1_000  # messages: 20 s of frames, four times what SEND_WITHIN_S lets wait
SEND_WITHIN_S = 5.0  # a vendor that reads nothing for so long will not catch up
MAX_MESSAGE = 4_000_000  # bytes
NORMAL = (1000, 1001, 1005)  # RFC 6455, 7.4.1: normal closure, going away, no code

T = TypeVar("T")


class VendorSocket:
    """An open websocket. vendor: its name in errors. closes: close codes of this vendor's own -> kind, retryable."""

    def __init__(
        self,
        socket: aiohttp.ClientWebSocketResponse,
        vendor: str,
        closes: Mapping[int, tuple[ProviderErrorKind, bool]],
    ) -> None:
        self._socket = socket
        self._vendor = vendor
        self._closes = closes
        self._queue: asyncio.Queue[bytes | str] = asyncio.Queue(MOST_QUEUED)
        self._last_sent = False
        self._overflow = False

    def send(self, message: bytes | str, *, last: bool = False) -> None:
        """Queue a message, bytes as binary and str as text. A plain call that neither blocks nor raises.

        last: the vendor's normal close is then the end of `messages`, and no failure.
        """
        self._last_sent = self._last_sent or last
        try:
            self._queue.put_nowait(message)
        except asyncio.QueueFull:
            self._overflow = True

    async def messages(self) -> AsyncIterator[bytes | str]:
        """Yield messages until the vendor closes. Raises ProviderError unless that follows the last message sent."""
        while True:
            message = await self._socket.receive()
            if message.type not in (WSMsgType.TEXT, WSMsgType.BINARY):
                break
            data: bytes | str = message.data
            yield data
        if error := self._failure():
            raise error

    def _failure(self) -> ProviderError | None:
        if self._overflow:
            return ProviderError("timeout", f"{self._vendor} reads too slowly", retryable=True)
        code, cause = self._socket.close_code, self._socket.exception()
        if self._last_sent and code in NORMAL and cause is None:
            return None
        if code is not None and code in self._closes:
            kind, retryable = self._closes[code]
            return ProviderError(kind, f"{self._vendor} closed the connection: code {code}", retryable=retryable)
        if isinstance(cause, TimeoutError):
            return ProviderError("timeout", f"{self._vendor} answers no ping", retryable=True)
        what = f"code {code}" if cause is None else type(cause).__name__
        return ProviderError("connection", f"{self._vendor} closed the connection: {what}", retryable=True)

    async def write(self) -> None:
        """Send what is queued until the connection ends; `messages` reports why."""
        try:
            while not self._overflow:
                message = await self._queue.get()
                async with asyncio.timeout(SEND_WITHIN_S):
                    if isinstance(message, bytes):
                        await self._socket.send_bytes(message)
                    else:
                        await self._socket.send_str(message)
        except TimeoutError:
            self._overflow = True
        except (ConnectionError, aiohttp.ClientError):
            return
        await self._socket.close()  # wakes `messages`


@asynccontextmanager
async def open_socket(
    endpoint: Endpoint,
    vendor: str,
    path: str,
    *,
    headers: Mapping[str, str],
    query: Sequence[tuple[str, str]] = (),
    closes: Mapping[int, tuple[ProviderErrorKind, bool]] | None = None,
    within_s: float = CONNECT_S,
) -> AsyncIterator[VendorSocket]:
    """Connect to `path` below the endpoint's URL. Raises ProviderError if the vendor refuses or does not answer."""
    try:
        async with asyncio.timeout(within_s):
            socket = await endpoint.http.ws_connect(
                f"{endpoint.url}{path}",
                headers=headers,
                params=list(query),
                heartbeat=HEARTBEAT_S,
                max_msg_size=MAX_MESSAGE,
                timeout=aiohttp.ClientWSTimeout(ws_close=CLOSE_WITHIN_S),
            )
    except aiohttp.WSServerHandshakeError as error:
        raise _refusal(vendor, error) from None
    except TimeoutError:
        raise ProviderError("timeout", f"{vendor} did not answer within {within_s:g} s", retryable=True) from None
    except (aiohttp.ClientError, OSError) as error:
        raise ProviderError("connection", f"{vendor}: {type(error).__name__}", retryable=True) from None
    async with socket:
        opened = VendorSocket(socket, vendor, closes or {})
        writing = asyncio.create_task(opened.write(), name=f"send to {vendor}")
        try:
            yield opened
        finally:
            writing.cancel()
            await asyncio.wait([writing])


def decode(decoder: msgspec.json.Decoder[T], message: bytes | str) -> T:
    """Return the decoded message. Raises ProviderError for one that is not of the vendor's protocol."""
    try:
        return decoder.decode(message)
    except (msgspec.MsgspecError, UnicodeError):
        raise ProviderError("server", "a message is not of the vendor's protocol", retryable=True) from None


def _refusal(vendor: str, error: aiohttp.WSServerHandshakeError) -> ProviderError:
    kind, retryable = kind_of(error.status)
    wait_s = retry_after_s(error.headers or {}, time.time()) if retryable else None
    message = f"{vendor} refuses the connection: HTTP {error.status}"
    return ProviderError(kind, message, retryable=retryable, retry_after_s=wait_s)
