"""A stand-in of OpenAI's chat completions over real HTTP: streams, refuses, redirects, hangs, breaks off.

async with openai_server() as server:
    server.plan = Stream("We ", "open.")
    ...                                     # any client, at server.url
    assert server.asked[0]["model"] == "gpt-5.4-mini"
"""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from aiohttp import web


@dataclass(frozen=True)
class Stream:
    """A reply in pieces. ends: `stop`, or how it breaks off: `hang`, `cut` (connection), `eof`, `error`, `garbage`."""

    pieces: tuple[str, ...]
    ends: str = "stop"
    every_s: float = 0.0


@dataclass(frozen=True)
class Script:
    """A reply as raw bytes of server-sent events, each piece a write of its own. A number waits so many seconds."""

    pieces: tuple[bytes | float, ...]
    content_type: str = "text/event-stream"


@dataclass(frozen=True)
class Refusal:
    """An answer that is no stream. message: the server's own words, which may quote key and caller."""

    status: int
    code: str = ""
    message: str = ""
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Hang:
    """No answer at all."""


Plan = Stream | Script | Refusal | Hang


class Server:
    """A running stand-in. plan: the answer to the next requests; `then`: the answers after it, one request each.

    asked, keys, headers: bodies (Any: the vendor's JSON), Authorization and all headers of the requests.
    left: set when a client disconnects in the middle of an answer. url: the base URL for a client.
    """

    def __init__(self) -> None:
        self.plan: Plan = Stream(("Hello.",))
        self.then: list[Plan] = []
        self.asked: list[dict[str, Any]] = []
        self.keys: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.left = asyncio.Event()
        self.connections: set[Any] = set()
        self.url = ""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(await request.json())
        self.keys.append(request.headers.get("Authorization", ""))
        self.headers.append(dict(request.headers))
        self.connections.add(request.transport)
        plan = self.plan
        if self.then:
            self.plan = self.then.pop(0)
        try:
            if isinstance(plan, Stream):
                return await self._stream(request, plan)
            if isinstance(plan, Script):
                return await self._script(request, plan)
            if isinstance(plan, Refusal):
                error = {"message": plan.message, "type": "x", "param": None, "code": plan.code}
                return web.json_response({"error": error}, status=plan.status, headers=dict(plan.headers))
            await asyncio.Event().wait()
        except (asyncio.CancelledError, ConnectionError):
            self.left.set()
            raise
        raise AssertionError("unreachable")

    async def _script(self, request: web.Request, plan: Script) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": plan.content_type})
        await response.prepare(request)
        for piece in plan.pieces:
            await (asyncio.sleep(piece) if isinstance(piece, float) else response.write(piece))
        return response

    async def _stream(self, request: web.Request, plan: Stream) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(event({"delta": {"role": "assistant", "content": ""}}))
        for piece in plan.pieces:
            await response.write(event({"delta": {"content": piece}}))
            await asyncio.sleep(plan.every_s)
        match plan.ends:
            case "hang":
                await asyncio.Event().wait()
            case "cut":
                assert request.transport is not None
                request.transport.abort()
            case "error":
                await response.write(b'data: {"error": {"message": "CANARY overloaded", "code": "overloaded"}}\n\n')
            case "garbage":
                await response.write(b'data: {"choices": [{"del\n\n')
            case "stop":
                await response.write(event({"delta": {}, "finish_reason": "stop"}))
                await response.write(event(None, usage={"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}))
                await response.write(b"data: [DONE]\n\n")
        return response


@asynccontextmanager
async def openai_server() -> AsyncIterator[Server]:
    """A server on a free port of this machine; `url` is what `base_url` wants."""
    server = Server()
    app = web.Application()
    app.router.add_post("/v1/chat/completions", server.answer)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    server.url = f"http://127.0.0.1:{port}/v1"
    try:
        yield server
    finally:
        await runner.cleanup()


def event(choice: dict[str, Any] | None, **fields: Any) -> bytes:
    """One event that holds a chunk with this choice."""
    choices = [{"index": 0, "finish_reason": None, **choice}] if choice else []
    chunk = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": choices, **fields}
    return f"data: {json.dumps(chunk)}\n\n".encode()
