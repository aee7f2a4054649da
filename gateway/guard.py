"""The checks of every request, and the security headers of every answer.

A foreign web page can send requests to this machine from a visitor's browser. With a DNS name that it points at
127.0.0.1 (DNS rebinding) it can even read the answers. So `Host` must be an address, `localhost` or a configured name.
An `Origin`, which browsers send with every request that changes something, must be the same host.
"""

import asyncio
import ipaddress
from collections.abc import Callable, Collection
from typing import Any, TypeVar
from urllib.parse import urlsplit

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler, Middleware

MAX_BODY = 64 * 1024  # bytes; a webhook of LiveKit is a few KB
ANSWERED_WITHIN_S = 10.0  # handlers marked `streams` have no such deadline
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
    """Mark a handler that runs for as long as a session does."""
    handler.__dict__["streams"] = True
    return handler


def guard(names: Collection[str], connects_to: Collection[str]) -> Middleware:
    """Return the middleware. names: further host names of this gateway. connects_to: further origins of the page."""
    policy = content_policy(connects_to)

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            _check_origin(request, names)
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
    """Add the security headers that the answer does not set itself."""
    for name, value in {**HEADERS, "Content-Security-Policy": policy}.items():
        answer.headers.setdefault(name, value)


def content_policy(connects_to: Collection[str]) -> str:
    """Return the CSP: scripts, styles and sound from this origin only, nothing inline, and no foreign frame."""
    connect = " ".join(("'self'", *connects_to))
    ours = "; ".join(f"{kind}-src 'self'" for kind in ("script", "style", "font", "img"))
    nobody = "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    return f"default-src 'none'; {ours}; media-src 'self' blob:; connect-src {connect}; {nobody}"


def is_ours(host: str, names: Collection[str]) -> bool:
    """Return whether `host` is an address, `localhost` or one of `names`, and not a foreign name for this machine."""
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
    """Return whether a request comes from a page of the same host."""
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and parts.netloc.lower() == host.lower()


def _check_origin(request: web.Request, names: Collection[str]) -> None:
    if not is_ours(request.host, names):
        raise web.HTTPMisdirectedRequest(text="this gateway does not serve this host name: start it with --name")
    origin = request.headers.get(hdrs.ORIGIN)
    if origin is not None and not is_same(origin, request.host):
        raise web.HTTPForbidden(text="this gateway refuses requests from other pages")


async def _in_time(request: web.Request, handler: Handler) -> web.StreamResponse:
    if getattr(request.match_info.handler, "streams", False):
        return await handler(request)
    try:
        async with asyncio.timeout(ANSWERED_WITHIN_S):
            return await handler(request)
    except TimeoutError:
        raise web.HTTPGatewayTimeout(text=f"no answer within {ANSWERED_WITHIN_S:.0f} s") from None
