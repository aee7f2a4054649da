"""A stand-in of Cartesia's `/tts/websocket`: contexts on one socket, flushes, word times, cancels.

async with cartesia_server() as server:
    server.faults.queue(Stall(after=3))     # one fault for each context
    ...                                     # any client, at server.url

Written from https://docs.cartesia.ai/2026-03-01/api-reference/tts/websocket (the messages `chunk`, `flush_done`,
`done`, `timestamps`, `error`; the requests and `cancel`), /use-the-api/tts-websocket/contexts (transcripts are joined
verbatim; the fields of a context must not change), /context-flushing-and-flush-i-ds (flush_id counts flushes from 1)
and the types of the package `cartesia` 4.2 (`types/websocket_response.py`, `types/generation_request.py`).
Refusals are HTTP statuses of the handshake, or an `error` of one context.
"""

import asyncio
import json
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import WSMsgType, web

from antiphon_testing.vendors.faults import Channel, Faults, Refuse, refused, socket_channel
from antiphon_testing.vendors.local_server import local_server
from antiphon_testing.vendors.voices import ToneVoice, VendorVoice

REQUIRED = ("context_id", "model_id", "voice", "output_format", "transcript")


class _Context:
    """One context: requests wait, its task answers them in order."""

    def __init__(self) -> None:
        self.requests: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.task: asyncio.Task[None] | None = None


class CartesiaServer:
    """A running stand-in.

    handshakes: faults of connections. faults: of contexts. asked: requests (Any: the vendor's JSON). cancelled: ids.
    sent: chunks of audio so far. sockets: those that are open.
    """

    def __init__(self, voice: VendorVoice) -> None:
        self.handshakes, self.faults = Faults(), Faults()
        self.asked: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.cancelled: list[str] = []
        self.sent = self.connected = 0
        self.sockets: set[web.WebSocketResponse] = set()
        self.url = ""
        self._voice = voice

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.headers.append(dict(request.headers))
        if refusal := refused(request, self.handshakes.take(), b'{"error_code": "unauthorized"}'):
            return refusal
        socket = web.WebSocketResponse(compress=False)
        await socket.prepare(request)
        self.sockets.add(socket)
        self.connected += 1
        contexts: dict[str, _Context] = {}
        try:
            async for message in socket:
                if message.type is WSMsgType.TEXT:
                    self._take(request, socket, contexts, json.loads(message.data))
        finally:
            self.sockets.discard(socket)
            for context in contexts.values():
                if context.task:
                    context.task.cancel()
        return socket

    async def drop_all(self) -> None:
        """Close every socket, as after an idle time."""
        for socket in set(self.sockets):
            await socket.close(code=1000)

    def _take(
        self, request: web.Request, socket: web.WebSocketResponse, contexts: dict[str, _Context], asked: dict[str, Any]
    ) -> None:
        name = asked.get("context_id", "")
        if asked.get("cancel"):
            self.cancelled.append(name)
            if (context := contexts.pop(name, None)) and context.task:
                context.task.cancel()
            return
        self.asked.append(asked)
        if name not in contexts:
            contexts[name] = _Context()
            contexts[name].task = asyncio.create_task(self._serve(request, socket, name, contexts[name]))
        contexts[name].requests.put_nowait(asked)

    async def _serve(self, request: web.Request, socket: web.WebSocketResponse, name: str, context: _Context) -> None:
        fault = self.faults.take()
        flush_id, at_s = 1, 0.0
        async with socket_channel(request, socket, fault) as channel:
            while True:
                asked = await context.requests.get()
                common = {"context_id": name, "done": False, "status_code": 206, "flush_id": flush_id}
                if isinstance(fault, Refuse):
                    await channel.send(_error(name, fault.status, fault.code or "refused", fault.message))
                    return
                if missing := [field for field in REQUIRED if field not in asked]:
                    await channel.send(_error(name, 400, "invalid_request", f"missing {missing}"))
                    return
                at_s += await self._speak(channel, asked, common, at_s)
                if asked.get("flush"):
                    await channel.send(json.dumps({"type": "flush_done", "flush_done": True, **common}))
                    flush_id += 1
                if not asked.get("continue"):
                    await channel.send(json.dumps({"type": "done", **common, "done": True}))
                    return

    async def _speak(self, channel: Channel, asked: dict[str, Any], common: dict[str, Any], at_s: float) -> float:
        spoken = await self._voice.speak(asked["transcript"].strip())
        for pcm, words in spoken.chunks():
            await channel.send(
                json.dumps({"type": "chunk", "step_time": 1.0, "data": b64encode(pcm).decode(), **common})
            )
            self.sent += 1
            if words and asked.get("add_timestamps"):
                times = {
                    "words": [word.text for word in words],
                    "start": [at_s + word.start_ms / 1000 for word in words],
                    "end": [at_s + word.end_ms / 1000 for word in words],
                }
                await channel.send(json.dumps({"type": "timestamps", "word_timestamps": times, **common}))
        return len(spoken.pcm) / 48_000


@asynccontextmanager
async def cartesia_server(voice: VendorVoice | None = None) -> AsyncIterator[CartesiaServer]:
    """Run a stand-in on a free port of this machine; `url` is what `base_url` wants."""
    server = CartesiaServer(voice or ToneVoice())
    async with local_server([web.get("/tts/websocket", server.answer)]) as address:
        server.url = f"http://{address}"
        yield server


def _error(context: str, status: int, code: str, message: str) -> str:
    error = {"type": "error", "context_id": context, "done": True, "status_code": status, "error_code": code}
    return json.dumps({**error, "title": "Error", "message": message})
