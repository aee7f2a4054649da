"""A stand-in of AssemblyAI's Universal Streaming at /v3/ws.

Written from https://www.assemblyai.com/docs/api-reference/streaming-api/streaming-api and the types of assemblyai 1.8.2
(`streaming/v3/models.py`), which name each message: Begin, Turn, Termination; ForceEndpoint, Terminate.
"""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import WSMsgType, web

from antiphon_testing.vendors.speech_server import (
    Connection,
    Ear,
    Said,
    SpeechServer,
    Transcribe,
    serving,
    token_transcriber,
)
from schemas.audio import CALLER_HZ, SAMPLE_BYTES

SHORTEST, LONGEST = CALLER_HZ * SAMPLE_BYTES // 20, CALLER_HZ * SAMPLE_BYTES  # bytes: 50 to 1,000 ms of audio
INPUT_DURATION = 3007  # https://www.assemblyai.com/docs/streaming/common-session-errors


@asynccontextmanager
async def assemblyai_server(transcribe: Transcribe = token_transcriber, key: str = "") -> AsyncIterator[SpeechServer]:
    """Run the stand-in. key: the only one that it accepts; "" accepts any."""
    server = SpeechServer(transcribe, key)

    async def listen(request: web.Request) -> web.StreamResponse:
        presented = request.headers.get("Authorization", "")  # the key alone, without a scheme
        return await server.answer(request, presented, lambda connection: _listen(server, connection))

    async with serving(server, web.get("/v3/ws", listen)) as running:
        yield running


async def _listen(server: SpeechServer, connection: Connection) -> None:
    socket, channel, wrong = connection
    ear = Ear(server.transcribe)
    turn = 0

    async def tell(said: Said) -> None:
        """Send a Turn; without formatting it has no punctuation and no capitals."""
        nonlocal turn
        final = said.kind == "final"
        if said.kind == "began" or (final and wrong == "never_final"):
            return
        words = [
            {
                "text": word.text.strip(".,?!").lower(),
                "start": round(word.start_s * 1000),
                "end": round(word.end_s * 1000),
                "confidence": 0.99,
                "word_is_final": final,
            }
            for word in said.words
        ]
        message = {
            "type": "Turn",
            "turn_order": turn,
            "turn_is_formatted": False,
            "end_of_turn": final,
            "end_of_turn_confidence": 0.9 if final else 0.1,
            "transcript": " ".join(str(word["text"]) for word in words) if final else "",
            "words": words,
        }
        turn += final
        for _ in range(2 if final and wrong == "duplicate_final" else 1):
            await channel.send(json.dumps(message))

    await channel.send(json.dumps({"type": "Begin", "id": "0", "expires_at": 2_000_000_000}))
    async for received in socket:
        if received.type is WSMsgType.BINARY:
            if not SHORTEST <= len(received.data) <= LONGEST:
                await socket.close(code=INPUT_DURATION)
                return
            server.audio_bytes += len(received.data)
            for said in await ear.feed(received.data):
                await tell(said)
        elif received.type is WSMsgType.TEXT:
            kind = received.json()["type"]
            server.received.append(kind)
            if kind == "ForceEndpoint":
                await tell(await ear.finalize())
            elif kind == "Terminate":
                seconds = ear.received // CALLER_HZ
                ended = {
                    "type": "Termination", "audio_duration_seconds": seconds, "session_duration_seconds": seconds,
                }  # fmt: skip
                await channel.send(json.dumps(ended))
                await socket.close()
                return
