"""A stand-in of Deepgram's `/v1/speak` (Aura) and `/v2/speak` (Flux TTS): text in, binary PCM out.

async with deepgram_speak_server() as server:
    server.faults.queue(Close(after=3))     # one fault for each connection
    ...                                     # any client, at server.url

Written from https://developers.deepgram.com/docs/streaming-text-to-speech, /docs/tts-ws-flush (`Flush`, `Flushed`, 20 a
minute), /docs/tts-ws-clear, /docs/flux-tts/client-messages and /docs/flux-tts/server-messages (`Speak`, `Flush`,
`Interrupt`, `Connected`, `SpeechStarted`, `Flushed`, `SpeechMetadata`, `SpeechInterrupted`), and the types of the
package `deepgram-sdk` 7.17 (`speak/v1/types`, `speak/v2/types`).
"""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from aiohttp import WSMsgType, web

from antiphon_testing.vendors.faults import Channel, Faults, refused, socket_channel
from antiphon_testing.vendors.local_server import local_server
from antiphon_testing.vendors.voices import ToneVoice, VendorVoice

FLUSHES = 20  # on one connection; the vendor counts them within 60 s


class DeepgramSpeakServer:
    """A running stand-in.

    asked: query of each connection. texts: of all `Speak` messages. sent: chunks of audio. sockets: those open.
    """

    def __init__(self, voice: VendorVoice) -> None:
        self.faults = Faults()
        self.asked: list[dict[str, str]] = []
        self.keys: list[str] = []
        self.texts: list[str] = []
        self.sent = 0
        self.sockets: set[web.WebSocketResponse] = set()
        self.url = ""
        self._voice = voice

    async def answer(self, request: web.Request) -> web.StreamResponse:
        fault = self.faults.take()
        self.asked.append(dict(request.query))
        self.keys.append(request.headers.get("Authorization", ""))
        if refusal := refused(request, fault, b'{"err_code": "INVALID_AUTH"}'):
            return refusal
        socket = web.WebSocketResponse(compress=False)
        await socket.prepare(request)
        self.sockets.add(socket)
        flux = request.path.startswith("/v2")
        requests: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        serving = asyncio.create_task(self._serve(request, socket, requests, fault, flux=flux))
        try:
            async for message in socket:
                if message.type is not WSMsgType.TEXT:
                    continue
                asked = json.loads(message.data)
                if asked["type"] in ("Clear", "Interrupt"):
                    serving.cancel()
                    answer = {"type": "SpeechInterrupted", "audio_played_ms": 0} if flux else {"type": "Cleared"}
                    await socket.send_str(json.dumps({**answer, "sequence_id": 0, "metadata": {}}))
                    requests = asyncio.Queue()
                    serving = asyncio.create_task(self._serve(request, socket, requests, fault, flux=flux))
                elif asked["type"] == "Close":
                    await socket.close()
                else:
                    requests.put_nowait(asked)
        finally:
            self.sockets.discard(socket)
            serving.cancel()
        return socket

    async def drop_all(self) -> None:
        """Close every socket, as after an idle time."""
        for socket in set(self.sockets):
            await socket.close(code=1000)

    async def _serve(
        self,
        request: web.Request,
        socket: web.WebSocketResponse,
        requests: "asyncio.Queue[dict[str, Any]]",
        fault: Any,
        *,
        flux: bool,
    ) -> None:
        text, flushes = "", 0
        async with socket_channel(request, socket, fault) as channel:
            with suppress(ConnectionError):
                while True:
                    asked = await requests.get()
                    if asked["type"] == "Speak":
                        text += asked["text"]
                        self.texts.append(asked["text"])
                        continue
                    flushes += 1
                    if not flux and flushes > FLUSHES:
                        await channel.send(json.dumps({"type": "Warning", "code": "FLUSH_LIMIT", "description": "x"}))
                        continue
                    await self._speak(channel, text, flushes, flux=flux)
                    text = ""

    async def _speak(self, channel: Channel, text: str, flushes: int, *, flux: bool) -> None:
        speech = f"dg_sp_{flushes:012x}"
        spoken = await self._voice.speak(text)
        if flux:
            await channel.send(json.dumps({"type": "SpeechStarted", "speech_id": speech}))
            await channel.send(json.dumps({"type": "Flushed", "speech_id": speech}))
        for pcm, _ in spoken.chunks():
            await channel.send(pcm)
            self.sent += 1
        if flux:
            await channel.send(json.dumps({"type": "SpeechMetadata", "speech_id": speech, "audio_duration_ms": 0}))
        else:
            await channel.send(json.dumps({"type": "Flushed", "sequence_id": flushes}))


@asynccontextmanager
async def deepgram_speak_server(voice: VendorVoice | None = None) -> AsyncIterator[DeepgramSpeakServer]:
    """Run a stand-in on a free port of this machine; `url` is what `base_url` wants."""
    server = DeepgramSpeakServer(voice or ToneVoice())
    routes = [web.get("/v1/speak", server.answer), web.get("/v2/speak", server.answer)]
    async with local_server(routes) as address:
        server.url = f"http://{address}"
        yield server
