"""A stand-in of ElevenLabs' `/v1/text-to-speech/{voice}/multi-stream-input`: contexts, flushes, character times.

async with elevenlabs_server() as server:
    server.faults.queue(Stall(after=3))     # one fault for each context
    ...                                     # any client, at server.url

Written from https://elevenlabs.io/docs/api-reference/text-to-speech/v-1-text-to-speech-voice-id-multi-stream-input and
the guide `multi-context-web-socket` (five contexts a connection; a closed context goes on with what was flushed), and
the types of the package `elevenlabs` 2.78 (`initialize_connection_multi`, `send_text_multi`, `flush_context`,
`close_context`, `audio_output_multi`, `final_output_multi`, `alignment`: times are relative to the chunk).
"""

import asyncio
import json
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import WSMsgType, web

from antiphon_testing.vendors.faults import Faults, Refuse, refused, socket_channel
from antiphon_testing.vendors.local_server import local_server
from antiphon_testing.vendors.voices import CHUNK_MS, ToneVoice, VendorVoice

CONTEXTS = 5  # of one connection
TOO_MANY = {"message": "Maximum simultaneous contexts exceeded", "error": "max_active_conversations", "code": 1008}

Requests = asyncio.Queue[dict[str, Any]]


class ElevenLabsServer:
    """A running stand-in.

    handshakes: faults of connections. faults: of contexts. asked: messages of the client (Any: the vendor's JSON).
    queries, paths, keys: of the connections. sent: chunks of audio so far. sockets: those that are open.
    """

    def __init__(self, voice: VendorVoice) -> None:
        self.handshakes, self.faults = Faults(), Faults()
        self.asked: list[dict[str, Any]] = []
        self.queries: list[dict[str, str]] = []
        self.paths: list[str] = []
        self.keys: list[str] = []
        self.sent = 0
        self.sockets: set[web.WebSocketResponse] = set()
        self.url = ""
        self._voice = voice

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.queries.append(dict(request.query))
        self.paths.append(request.path)
        self.keys.append(request.headers.get("xi-api-key", ""))
        if refusal := refused(request, self.handshakes.take(), b'{"detail": {"status": "invalid_api_key"}}'):
            return refusal
        socket = web.WebSocketResponse(compress=False)
        await socket.prepare(request)
        self.sockets.add(socket)
        contexts: dict[str, Requests] = {}
        tasks: set[asyncio.Task[None]] = set()
        try:
            async for message in socket:
                if message.type is not WSMsgType.TEXT:
                    continue
                asked = json.loads(message.data)
                self.asked.append(asked)
                name = asked.get("context_id", "default")
                if asked.get("close_socket"):
                    break
                if name not in contexts:
                    if asked.get("close_context"):
                        continue
                    if len(contexts) >= CONTEXTS:
                        await socket.send_str(json.dumps(TOO_MANY))
                        await socket.close(code=1008)
                        break
                    contexts[name] = asyncio.Queue()
                    tasks.add(asyncio.create_task(self._serve(request, socket, name, contexts)))
                contexts[name].put_nowait(asked)
        finally:
            self.sockets.discard(socket)
            for task in tasks:
                task.cancel()
        return socket

    async def drop_all(self) -> None:
        """Close every socket, as after an idle time."""
        for socket in set(self.sockets):
            await socket.close(code=1000)

    async def _serve(
        self, request: web.Request, socket: web.WebSocketResponse, name: str, contexts: dict[str, Requests]
    ) -> None:
        fault, text = self.faults.take(), ""
        async with socket_channel(request, socket, fault) as channel:
            if isinstance(fault, Refuse):
                error = {"contextId": name, "message": fault.message, "error": fault.code, "code": 1008}
                await channel.send(json.dumps(error))
                return
            while True:
                asked = await contexts[name].get()
                text += asked.get("text") or ""
                if asked.get("flush"):
                    for message in await self._spoken(text.strip()):
                        await channel.send(json.dumps({**message, "contextId": name}))
                        self.sent += 1
                    text = ""
                if asked.get("close_context"):
                    del contexts[name]
                    await channel.send(json.dumps({"isFinal": True, "contextId": name}))
                    return

    async def _spoken(self, text: str) -> list[dict[str, Any]]:
        spoken = await self._voice.speak(text)
        messages = []
        for number, (pcm, words) in enumerate(spoken.chunks()):
            chars, starts, lengths = [], [], []
            for word in words:
                each = (word.end_ms - word.start_ms) / len(word.text)
                for place, char in enumerate(f"{word.text} "):
                    chars.append(char)
                    starts.append(int(word.start_ms + place * each) - number * CHUNK_MS)
                    lengths.append(0 if char == " " else int(each))
            times = {"chars": chars, "charStartTimesMs": starts, "charDurationsMs": lengths}
            messages.append(
                {"audio": b64encode(pcm).decode(), "alignment": times, "normalizedAlignment": times, "isFinal": None}
            )
        return messages


@asynccontextmanager
async def elevenlabs_server(voice: VendorVoice | None = None) -> AsyncIterator[ElevenLabsServer]:
    """Run a stand-in on a free port of this machine; `url` is what `base_url` wants."""
    server = ElevenLabsServer(voice or ToneVoice())
    async with local_server([web.get("/v1/text-to-speech/{voice}/multi-stream-input", server.answer)]) as address:
        server.url = f"http://{address}"
        yield server
