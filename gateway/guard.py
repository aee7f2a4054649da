"""What every request must be and every answer carries: asked of our own host, by our own page, small and in time.

A page of somebody else's may send requests to this machine from a visitor's browser, and with a name that it points at
127.0.0.1 it may even read the answers. So a `Host` is an address, `localhost` or a name that we were given, and an
`Origin`, which browsers always send with what changes something, is that same host.
"""

import asyncio
import ipaddress
from collections.abc import Callable, Collection
from typing import Any, TypeVar
from urllib.parse import urlsplit

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler, Middleware

MAX_BODY = 64 * 1024  # bytes; a webhook of LiveKit is a few KB
ANSWERED_WITHIN_S = 10.0  # what stays open says so: `streams`
LOCAL = "localhost"

Streaming = TypeVar("Streaming", bound=Callable[..., Any])

HEADERS = {
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "microphone=(self), camera=(), geolocation=(), speaker-selection=(self)",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


def streams(handler: Streaming) -> Streaming:
    """Marks a handler that goes on for as long as a call does."""
    handler.__dict__["streams"] = True
    return handler


def guard(names: Collection[str], connects_to: Collection[str]) -> Middleware:
    """The middleware. names: hosts that are ours too. connects_to: where else the page may connect."""
    policy = content_policy(connects_to)

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            _check_asker(request, names)
            answer = await _in_time(request, handler)
        except web.HTTPException as refused:
            answer = web.json_response({"error": refused.text or refused.reason}, status=refused.status)
            if isinstance(refused, web.HTTPMethodNotAllowed):
                answer.headers[hdrs.ALLOW] = refused.headers[hdrs.ALLOW]
        if not answer.prepared:
            dress(answer, policy)
        return answer

    return check


def dress(answer: web.StreamResponse, policy: str = "default-src 'none'") -> None:
    """The headers of every answer; one that it has already is its own business."""
    for name, value in {**HEADERS, "Content-Security-Policy": policy}.items():
        answer.headers.setdefault(name, value)


def content_policy(connects_to: Collection[str]) -> str:
    """Scripts, styles and sound from here alone, nothing written into the page, and nobody's frame around it."""
    connect = " ".join(("'self'", *connects_to))
    ours = "; ".join(f"{kind}-src 'self'" for kind in ("script", "style", "font", "img"))
    nobody = "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    return f"default-src 'none'; {ours}; media-src 'self' blob:; connect-src {connect}; {nobody}"


def is_ours(host: str, names: Collection[str]) -> bool:
    """Whether a `Host` cannot be somebody else's name for this machine."""
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return False
    if name == LOCAL or name in names:
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def is_same(origin: str, host: str) -> bool:
    """Whether a request comes from a page of the host that it asks."""
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and parts.netloc.lower() == host.lower()


def _check_asker(request: web.Request, names: Collection[str]) -> None:
    if not is_ours(request.host, names):
        raise web.HTTPMisdirectedRequest(text="this host is not served here: give its name with --name")
    origin = request.headers.get(hdrs.ORIGIN)
    if origin is not None and not is_same(origin, request.host):
        raise web.HTTPForbidden(text="requests of other pages are not answered")


async def _in_time(request: web.Request, handler: Handler) -> web.StreamResponse:
    if getattr(request.match_info.handler, "streams", False):
        return await handler(request)
    try:
        async with asyncio.timeout(ANSWERED_WITHIN_S):
            return await handler(request)
    except TimeoutError:
        raise web.HTTPGatewayTimeout(text=f"no answer within {ANSWERED_WITHIN_S:.0f} s") from None
