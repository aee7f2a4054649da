"""A stand-in vendor of language models over real HTTP: its wire is a parameter, its reply and its faults are scripts.

async with language_model_server(CHAT) as server:
    server.reply = Reply(("We ", "open."))
    server.faults.queue(Close(after=1))
    ...                                             # any client, at server.url
    assert server.asked[0]["model"] == "gpt-5.4-mini"
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

from aiohttp import web

from antiphon_testing.vendors.faults import Faults, Refuse, http_channel, refused
from antiphon_testing.vendors.local_server import local_server


@dataclass(frozen=True)
class ScriptedCall:
    """A call of a tool. arguments: a JSON object as text."""

    name: str
    arguments: str = "{}"


@dataclass(frozen=True)
class Reply:
    """What the model writes. pieces: of text. thoughts: of reasoning, before the text. every_s: between two pieces.

    input_tokens: all of the request's, cached_tokens: those of them that came from the cache. finish: one of the
    contract's reasons.
    """

    pieces: tuple[str, ...] = ("We ", "open ", "at ", "nine.")
    thoughts: tuple[str, ...] = ()
    calls: tuple[ScriptedCall, ...] = ()
    every_s: float = 0.0
    input_tokens: int = 30
    cached_tokens: int = 20
    output_tokens: int = 4
    finish: str = "stop"


class Wire(Protocol):
    """How one vendor writes. path: of its route. base: of the URL that a client is given."""

    path: str
    base: str
    content_type: str

    def messages(self, reply: Reply) -> Iterator[bytes]:
        """Yield the messages of a streamed reply."""

    def error(self, refusal: Refuse) -> bytes:
        """Return the body of a refusal."""


@dataclass
class LanguageModelServer:
    """A running stand-in.

    asked: the bodies of the requests (Any: the vendor's JSON). headers: theirs. paths: theirs, unquoted. left: set when
    a client disconnects in the middle of an answer. warmed: set by the request that warms a connection.
    """

    wire: Wire
    reply: Reply = Reply()
    faults: Faults = field(default_factory=Faults)
    asked: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    connections: set[Any] = field(default_factory=set)
    left: asyncio.Event = field(default_factory=asyncio.Event)
    warmed: asyncio.Event = field(default_factory=asyncio.Event)
    url: str = ""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answer one request for a reply."""
        self.connections.add(request.transport)
        self.asked.append(await request.json())
        self.headers.append(dict(request.headers))
        self.paths.append(request.path)
        fault = self.faults.take()
        body = self.wire.error(fault) if isinstance(fault, Refuse) else b""
        if refusal := refused(request, fault, body):
            return refusal
        try:
            async with http_channel(request, fault, self.wire.content_type) as channel:
                for message in self.wire.messages(self.reply):
                    await channel.send(message)
                    await asyncio.sleep(self.reply.every_s)
            return channel.response
        except (asyncio.CancelledError, ConnectionError):
            self.left.set()
            raise

    async def warm(self, request: web.Request) -> web.Response:
        """Answer the request that warms a connection, as vendors do: without a key."""
        self.connections.add(request.transport)
        self.warmed.set()
        return web.Response(status=401)


@asynccontextmanager
async def language_model_server(wire: Wire) -> AsyncIterator[LanguageModelServer]:
    """Run the stand-in on a free port of this machine; `url` is what `base_url` wants."""
    server = LanguageModelServer(wire)
    routes = [web.post(wire.path, server.answer), web.get(wire.base or "/", server.warm)]
    async with local_server(routes) as address:
        server.url = f"http://{address}{wire.base}"
        yield server
