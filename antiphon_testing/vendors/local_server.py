"""Runs a stand-in vendor on a free port of this machine."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

from aiohttp import web

GOODBYE_S = 0.1  # an answer that stalls must not keep a test waiting


@asynccontextmanager
async def local_server(routes: Iterable[web.AbstractRouteDef]) -> AsyncIterator[str]:
    """Yield `host:port`, at which the routes answer. A handler is cancelled when its client leaves."""
    app = web.Application()
    app.add_routes(routes)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=GOODBYE_S)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        yield f"{host}:{port}"
    finally:
        await runner.cleanup()
