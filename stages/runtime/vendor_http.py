"""HTTP to vendors: one connection pool a worker that follows no redirect and reaches only addresses it may reach.

An agent document may name a URL. So every connection resolves its host here, and connects to the address that was
checked: a name that resolves differently a moment later gains nothing. Operators' own URLs are exempt.
"""

import asyncio
import ipaddress
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from types import SimpleNamespace
from typing import NamedTuple
from urllib.parse import urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from schemas.provider_keys import Address, PrivateHosts, origin
from stages.runtime.providers import ProviderContext, ProviderError, ProviderMissing

RESOLVE_WITHIN_S = 3.0
WARM_WITHIN_S = 5.0  # a slower handshake is no use to the first reply
MAX_WARM_ANSWER = 64_000  # bytes
KEEP_ALIVE_S = 60.0  # longer than most pauses between two turns, so that no reply waits for a handshake

# Of IPv6, only global unicast, and of that not the ranges that stand for IPv4 addresses (6to4, Teredo): Python's
# `is_global` is true of NAT64, 6to4 and IPv4-compatible forms of 127.0.0.1.
_UNICAST = ipaddress.ip_network("2000::/3")
_TUNNELS = (ipaddress.ip_network("2002::/16"), ipaddress.ip_network("2001::/32"))
_PROTOCOLS = ipaddress.ip_network("192.0.0.0/24")  # `is_global` is true of parts of it


def is_public(address: Address) -> bool:
    """Whether `address` is one of the open internet: neither private, local, reserved, multicast nor a tunnel's."""
    if isinstance(address, ipaddress.IPv6Address):
        if address not in _UNICAST or any(address in network for network in _TUNNELS):
            return False
    elif address in _PROTOCOLS:
        return False
    return address.is_global and not address.is_multicast


def unmapped(text: str) -> Address:
    """Return the address that `text` holds, as IPv4 if it is an IPv4 address in IPv6's notation."""
    address = ipaddress.ip_address(text.partition("%")[0])
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


class Endpoint(NamedTuple):
    """Where the requests of one session go. key: None where the host may have none."""

    http: aiohttp.ClientSession
    url: str
    key: str | None


class VendorHttp:
    """The connections of one provider. homes: variable of each key -> the vendor's own URL."""

    def __init__(
        self,
        context: ProviderContext,
        homes: Mapping[str, str],
        trusted: aiohttp.ClientSession,
        guarded: aiohttp.ClientSession,
    ) -> None:
        self._context = context
        self._homes = homes
        self._trusted = trusted
        self._guarded = guarded

    async def endpoint(self, variable: str, named: str | None = None) -> Endpoint:
        """Return the endpoint at the URL that a document named, else at the operator's, else at the vendor's own.

        Raises ProviderMissing if the vendor's own URL lacks its key; ProviderError for a URL that is malformed, names a
        private host without the operator's leave, or would send speech over the internet unencrypted.
        """
        keys = self._context.keys
        url = named or keys.urls.get(variable) or self._homes[variable]
        try:
            asked = origin(url)
            bound_to, secret = keys.find(url, self._homes)
            ours = not named or keys.named(url, self._homes) or asked in map(origin, self._homes.values())
        except ValueError as error:
            raise ProviderError("options", f"option base_url: {error}") from None
        if secret is None and bound_to in self._homes and asked == origin(self._homes[bound_to]):
            raise ProviderMissing(f"{bound_to} is not set: export {bound_to}=... before starting the worker")
        if not ours:
            await self._check(url)
        key = secret.get_secret_value() if secret else None
        return Endpoint(self._trusted if ours else self._guarded, url.rstrip("/"), key)

    def at(self, homes: Mapping[str, str]) -> "VendorHttp":
        """Return these connections for a vendor whose own URL depends on a session's options."""
        return VendorHttp(self._context, homes, self._trusted, self._guarded)

    def key_name(self, url: str) -> str:
        """Return the variable of the key that is bound to the host of `url`, "" if none is."""
        return self._context.keys.find(url, self._homes)[0]

    async def _check(self, url: str) -> None:
        """Check each address of the host: an address in the URL itself never reaches the resolver of the pool."""
        parts = urlsplit(url)
        assert parts.hostname is not None
        try:
            found = await addresses(parts.hostname, parts.port or 0, self._context.private)
        except (OSError, UnicodeError) as error:
            raise ProviderError(
                "connection", f"cannot resolve {parts.hostname}: {type(error).__name__}", retryable=True
            ) from None
        if parts.scheme in ("http", "ws") and any(is_public(unmapped(one["host"])) for one in found):
            raise ProviderError("options", "option base_url: use https, http is for private hosts only")


@asynccontextmanager
async def warmed(endpoint: Endpoint) -> AsyncIterator[asyncio.Task[None]]:
    """Connect to the vendor in the background, so that the first request of the session waits for no handshake.

    Yields the task, which ends by itself and never fails. It asks for the base URL without the key; any answer will do.
    """
    task = asyncio.create_task(_warm(endpoint), name="warm a vendor's connection")
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait({task})


async def _warm(endpoint: Endpoint) -> None:
    with suppress(aiohttp.ClientError, ProviderError, OSError, TimeoutError):
        async with asyncio.timeout(WARM_WITHIN_S), endpoint.http.get(endpoint.url, allow_redirects=False) as answer:
            await answer.content.read(
                MAX_WARM_ANSWER
            )  # one that is read whole leaves the connection to the next request


@asynccontextmanager
async def open_http(context: ProviderContext, homes: Mapping[str, str]) -> AsyncIterator[VendorHttp]:
    """Open the connection pools of a provider. No request follows a redirect, keeps a cookie or uses a proxy."""
    trusted = _session(aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEP_ALIVE_S))
    guarded = _session(
        aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEP_ALIVE_S, resolver=_Resolver(context.private))
    )
    async with trusted, guarded:
        yield VendorHttp(context, homes, trusted, guarded)


def _session(connector: aiohttp.TCPConnector) -> aiohttp.ClientSession:
    watch = aiohttp.TraceConfig()
    watch.on_request_redirect.append(_refuse_redirect)
    return aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"User-Agent": "antiphon"},
        trace_configs=[watch],
        trust_env=False,
    )


async def _refuse_redirect(
    _session: aiohttp.ClientSession, _context: SimpleNamespace, redirect: aiohttp.TraceRequestRedirectParams
) -> None:
    """Stop before the second request: a redirect would carry speech and key to another host."""
    status = redirect.response.status
    raise ProviderError("bad_request", f"HTTP {status}: redirects are not followed, name the final URL in base_url")


async def addresses(host: str, port: int, private: PrivateHosts) -> list[ResolveResult]:
    """Return the addresses of `host`. Raises ProviderError unless a document may reach every one of them."""
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(RESOLVE_WITHIN_S):  # a TimeoutError is an OSError
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    results: list[ResolveResult] = []
    for family, _, protocol, _, endpoint in found:
        text = str(endpoint[0])
        if not is_public(unmapped(text)) and not private.allow(host, unmapped(text)):
            raise ProviderError(
                "options", f"{host} is at the private address {text}: the operator may allow it, ANTIPHON_PRIVATE_HOSTS"
            )
        results.append(
            {"hostname": host, "host": text, "port": port, "family": family, "proto": protocol,
             "flags": socket.AI_NUMERICHOST}
        )  # fmt: skip
    return results


class _Resolver(AbstractResolver):
    """Resolves a host when a connection is made, and refuses private addresses."""

    def __init__(self, private: PrivateHosts) -> None:
        self._private = private

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        return await addresses(host, port, self._private)

    async def close(self) -> None:
        """Hold nothing, so close nothing."""
