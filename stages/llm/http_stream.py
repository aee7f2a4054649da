"""A streamed HTTP answer of a language model's vendor: one request, at most one retry, bounded waits."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from http import HTTPStatus

import aiohttp

from schemas.events import ProviderErrorKind
from stages.llm.refusals import refusal
from stages.runtime.providers import ProviderError
from stages.runtime.vendor_http import Endpoint

CONNECT_S = 3.0  # a handshake across an ocean takes 0.5 s
TRIES = 2  # the second hides a kept-alive connection that the server had closed; more would be heard as silence
RETRY_AFTER_S = 0.3  # without a `Retry-After`
WAIT_S = 2.0  # a longer `Retry-After` fails at once: the caller would hear silence
LINGER_S = 0.2  # behind a complete reply: the token counts, and the end that frees the connection for the next one
MAX_ERROR = 64_000  # bytes of an error that are read
JOIN_S = 0.3  # a warm-up under way is worth this wait: a handshake of the request's own takes as long

BROKEN = (aiohttp.ClientError, TimeoutError, OSError)


class StreamClient:
    """Sends the requests of one session. timeout_s: without a byte. key_name: the variable of the endpoint's key."""

    def __init__(self, endpoint: Endpoint, key_name: str, timeout_s: float, warming: asyncio.Task[None]) -> None:
        self._http = endpoint.http
        self._key_name = key_name
        self._warming = warming
        self._timeout = aiohttp.ClientTimeout(total=None, sock_connect=min(CONNECT_S, timeout_s), sock_read=timeout_s)

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> aiohttp.ClientResponse:
        """Return the response of a server that accepted the request. Raises ProviderError after the last try.

        body: JSON.
        """
        await asyncio.wait({self._warming}, timeout=JOIN_S)
        headers = {"Content-Type": "application/json", **headers}
        for tries_left in reversed(range(TRIES)):
            try:
                response = await self._http.post(url, data=body, headers=headers, timeout=self._timeout)
                if response.status == HTTPStatus.OK:
                    return response
                async with response:
                    error = refusal(response.status, response.headers, await read(response, MAX_ERROR), time.time())
                    if error.kind == "auth" and self._key_name:
                        error = ProviderError("auth", f"{error}: check {self._key_name}")
            except BROKEN as lost:
                error = broken(lost)
            wait_s = RETRY_AFTER_S if error.retry_after_s is None else error.retry_after_s
            if not tries_left or not error.retryable or error.kind == "timeout" or wait_s > WAIT_S:
                raise error from None
            await asyncio.sleep(wait_s)
        raise AssertionError("unreachable")


async def received(response: aiohttp.ClientResponse, complete: Callable[[], bool]) -> AsyncGenerator[bytes, None]:
    """Yield the bytes of the response to its end, or until nothing more comes behind a reply that is `complete`."""
    while True:
        try:
            async with asyncio.timeout(LINGER_S if complete() else None):
                piece = await response.content.readany()
        except TimeoutError:
            if complete():
                return
            raise
        if not piece:
            return
        yield piece


async def read(response: aiohttp.ClientResponse, most: int) -> bytes:
    """Read the body, at most `most` bytes of it."""
    body = b""
    while len(body) < most and (piece := await response.content.read(most - len(body))):
        body += piece
    return body


def broken(error: Exception) -> ProviderError:
    """Return the error of a connection that failed. The original may hold the caller's words: raise `from None`."""
    kind: ProviderErrorKind = "timeout" if isinstance(error, TimeoutError) else "connection"
    return ProviderError(kind, type(error).__name__, retryable=True)
