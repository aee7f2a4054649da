"""The gateway's HTTP endpoints: the page, agents, sessions, a session's events and its websocket."""

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager, suppress
from typing import Literal
from urllib.parse import urlencode, urlsplit

import msgspec
from aiohttp import hdrs, web

from bus.connect import Bus
from bus.errors import BusError
from config_service.client import ConfigClient
from gateway import files, rooms
from gateway.feed import Behind
from gateway.guard import MAX_BODY, dress, guard, streams
from gateway.relay import relay
from gateway.sessions import Call, Refused, Sessions
from transports.websocket import netloc

STILL_HERE_S = 10.0  # between two comments on a quiet event stream, so that proxies keep the connection
SLOW_S = 5.0  # a reader that takes no message for this long is disconnected
CLOSE_WITHIN_S = 1.0


class Asked(msgspec.Struct, forbid_unknown_fields=True):
    """The body of `POST /v1/sessions`."""

    agent: str
    transport: Literal["websocket", "livekit"] = "websocket"


class Gateway:
    """The HTTP handlers."""

    def __init__(self, bus: Bus, livekit_url: str) -> None:
        self.sessions = Sessions(bus)
        self._bus = bus
        self._config = ConfigClient(bus)
        self._files = files.read()
        has_rooms = livekit_url and files.ROOM_CLIENT in self._files
        self._transports = ["livekit", "websocket"] if has_rooms else ["websocket"]

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/v1/agents", self.agents),
            web.post("/v1/sessions", self.open),
            web.get("/v1/sessions/{session}/events", self.events),
            web.delete("/v1/sessions/{session}", self.hang_up),
            web.get("/v1/call", self.call),
            web.post("/livekit/webhook", self.webhook),
            web.get("/{path:.*}", self.file),
        ]

    async def file(self, request: web.Request) -> web.Response:
        """Serve a file of the page."""
        found = self._files.get(request.match_info["path"])
        if found is None:
            raise web.HTTPNotFound(text="this gateway has no such page")
        return files.answer(found, request)

    async def agents(self, _request: web.Request) -> web.Response:
        """Answer `{agents, details, transports}`: the ids, each one's name and description, and the transports."""
        try:
            lines = await self._config.list()
        except BusError:
            raise web.HTTPServiceUnavailable(
                text="cannot read the agents: the config service does not answer. Is it running?"
            ) from None
        details = {line.id: {"name": line.name or line.id, "description": line.description} for line in lines}
        ids = [line.id for line in lines]
        return web.json_response({"agents": ids, "details": details, "transports": self._transports})

    async def open(self, request: web.Request) -> web.Response:
        """Claim a session for this page; answer where to connect, and where its events are."""
        if request.content_type != "application/json":
            raise web.HTTPUnsupportedMediaType(text="send JSON: {agent, transport}")
        try:
            asked = msgspec.json.decode(await request.read(), type=Asked)
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as bad:
            raise web.HTTPBadRequest(text=f"the body is not {{agent, transport}}: {bad}") from None
        try:
            call = await self.sessions.open(asked.agent, asked.transport)
        except Refused as refused:
            return web.json_response({"error": str(refused)}, status=refused.status)
        token = urlencode({"token": call.token})
        address = f"/v1/sessions/{call.id}"
        told = {"session": call.id, "events": f"{address}/events?{token}", "hangup": f"{address}?{token}"}
        if call.offer.room:
            told |= {"url": call.offer.url, "room": call.offer.room, "token": call.offer.token}
        else:
            told["url"] = f"/v1/call?session={call.id}&{token}"
        return web.json_response(told, status=201)

    async def hang_up(self, request: web.Request) -> web.Response:
        """End one session for its caller. Leaving a room ends nothing: a page that reloads leaves it, too."""
        await self.sessions.hang_up(self._find(request, request.match_info["session"]))
        return web.Response(status=204)

    @streams
    async def events(self, request: web.Request) -> web.StreamResponse:
        """Stream the events of one session as server-sent events; `Last-Event-ID` resumes behind that event."""
        call = self._find(request, request.match_info["session"])
        last = request.headers.get("Last-Event-ID", "")
        stream = web.StreamResponse(headers={hdrs.CONTENT_TYPE: "text/event-stream; charset=utf-8"})
        dress(stream)
        await stream.prepare(request)
        with suppress(ConnectionError, TimeoutError):  # the reader disconnected, or is too slow
            await self._stream(stream, call, int(last) if last.isdecimal() and len(last) < 10 else 0)
        return stream

    async def _stream(self, stream: web.StreamResponse, call: Call, after: int) -> None:
        reading = call.feed.read(after)
        entry = asyncio.ensure_future(anext(reading, None))
        try:
            while True:
                done, _ = await asyncio.wait([entry], timeout=STILL_HERE_S)
                async with asyncio.timeout(SLOW_S):
                    if not done:
                        await stream.write(b": still here\n\n")
                        continue
                    said = entry.result()
                    if said is None:
                        await stream.write(b"event: over\ndata: {}\n\n")
                        return
                    await stream.write(f"id: {said.number}\ndata: {said.text}\n\n".encode())
                entry = asyncio.ensure_future(anext(reading, None))
        except Behind as behind:
            told = msgspec.json.encode({"error": str(behind)}).decode()
            async with asyncio.timeout(SLOW_S):
                await stream.write(f"event: behind\ndata: {told}\n\n".encode())
        finally:
            entry.cancel()

    @streams
    async def call(self, request: web.Request) -> web.StreamResponse:
        """Relay the websocket of one session."""
        call = self._find(request, request.query.get("session", ""))
        if call.offer.room:
            raise web.HTTPConflict(text="this session is in a room: connect to the room instead")
        return await relay(request, call.offer.url)

    async def webhook(self, request: web.Request) -> web.Response:
        """Pass a webhook of LiveKit to ingress."""
        try:
            checked = await rooms.receive(self._bus, await request.text(), request.headers.get(hdrs.AUTHORIZATION, ""))
        except UnicodeDecodeError:
            raise web.HTTPBadRequest(text="cannot read the webhook: the body is not text") from None
        except BusError:
            raise web.HTTPServiceUnavailable(
                text="cannot check the webhook: no ingress takes rooms. Start one with --livekit-url."
            ) from None
        if not checked.genuine:
            raise web.HTTPUnauthorized(text="the webhook is not signed with the project's secret")
        return web.Response()

    def _find(self, request: web.Request, session: str) -> Call:
        try:
            return self.sessions.find(session, request.query.get("token", ""))
        except Refused as refused:
            raise web.HTTPNotFound(text=str(refused)) from None


@asynccontextmanager
async def serve(
    bus: Bus, host: str, port: int, names: Collection[str] = (), livekit_url: str = ""
) -> AsyncIterator[str]:
    """Serve at `host:port` (0 is any free port); yield the page's URL. Raises OSError when the port is taken.

    names: host names of this gateway, beside its addresses. livekit_url: the LiveKit server that pages connect to.
    """
    gateway = Gateway(bus, livekit_url)
    application = web.Application(middlewares=[guard(names, origins(livekit_url))], client_max_size=MAX_BODY)
    application.add_routes(gateway.routes())
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=CLOSE_WITHIN_S)
    await runner.setup()
    attending = asyncio.create_task(gateway.sessions.attend())
    try:
        site = web.TCPSite(runner, host, port)
        await site.start()
        yield f"http://{netloc(host, runner.addresses[0][1])}/"
    finally:
        attending.cancel()
        await gateway.sessions.close()
        await runner.cleanup()


def origins(livekit_url: str) -> tuple[str, ...]:
    """Return the origins that a page connects to for rooms: LiveKit's websocket and its HTTP twin."""
    if not livekit_url:
        return ()
    parts = urlsplit(livekit_url)
    secure = "s" if parts.scheme in ("wss", "https") else ""
    return f"ws{secure}://{parts.netloc}", f"http{secure}://{parts.netloc}"
