"""A stand-in of Deepgram's recognizers: Nova at /v1/listen, Flux at /v2/listen.

Written from https://developers.deepgram.com/reference/speech-to-text/listen-streaming (Nova),
https://developers.deepgram.com/reference/speech-to-text/listen-flux (Flux) and the types of deepgram-sdk 7.17.0
(`listen/v1/types`, `listen/v2/types`). Each message names its type there. Deepgram's own client talks to it in
tests/vendors/test_deepgram_sdk.py.
"""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import WSMsgType, web

from antiphon_testing.vendors.speech_server import (
    Connection,
    Ear,
    Said,
    SpeechServer,
    TimedWord,
    Transcribe,
    serving,
    token_transcriber,
)
from schemas.audio import CALLER_HZ

IDLE_S = 10.0  # https://developers.deepgram.com/docs/audio-keep-alive: then it closes with 1011 and NET-0001
NO_AUDIO = 1011
REQUEST = "00000000-0000-0000-0000-000000000000"
SURE, UNSURE = 0.9, 0.6  # confidence that the turn is over


@asynccontextmanager
async def deepgram_server(
    transcribe: Transcribe = token_transcriber, key: str = "", idle_s: float = IDLE_S
) -> AsyncIterator[SpeechServer]:
    """Run the stand-in. key: the only one that it accepts; "" accepts any."""
    server = SpeechServer(transcribe, key)

    async def nova(request: web.Request) -> web.StreamResponse:
        return await server.answer(request, _key(request), lambda connection: _nova(server, connection, idle_s))

    async def flux(request: web.Request) -> web.StreamResponse:
        eager = "eager_eot_threshold" in request.query
        return await server.answer(request, _key(request), lambda connection: _flux(server, connection, eager))

    async with serving(server, web.get("/v1/listen", nova), web.get("/v2/listen", flux)) as running:
        yield running


def _key(request: web.Request) -> str:
    return request.headers.get("Authorization", "").removeprefix("Token ")


# --- Nova -------------------------------------------------------------------------------------------------------------


async def _nova(server: SpeechServer, connection: Connection, idle_s: float) -> None:
    socket, channel, wrong = connection
    ear = Ear(server.transcribe)

    async def send(said: Said) -> None:
        if said.kind == "began":
            began = {"type": "SpeechStarted", "channel": [0, 1], "timestamp": said.start / CALLER_HZ}
            await channel.send(json.dumps(began))
        elif said.kind == "interim" or (said.kind == "final" and wrong != "never_final"):
            for _ in range(2 if said.kind == "final" and wrong == "duplicate_final" else 1):
                await channel.send(json.dumps(_results(said)))

    while True:
        try:
            message = await socket.receive(timeout=idle_s)
        except TimeoutError:
            await socket.close(code=NO_AUDIO, message=b"NET-0001")
            return
        if message.type is WSMsgType.BINARY:
            server.audio_bytes += len(message.data)
            for said in await ear.feed(message.data):
                await send(said)
        elif message.type is WSMsgType.TEXT:
            kind = message.json()["type"]  # ListenV1Finalize, ListenV1KeepAlive, ListenV1CloseStream
            server.received.append(kind)
            if kind == "Finalize":
                await send(await ear.finalize())
            elif kind == "CloseStream":
                await send(await ear.finalize())
                metadata = {  # ListenV1Metadata
                    "type": "Metadata", "transaction_key": "deprecated", "request_id": REQUEST, "sha256": "0",
                    "created": "2026-01-01T00:00:00Z", "duration": ear.received / CALLER_HZ, "channels": 1,
                }  # fmt: skip
                await channel.send(json.dumps(metadata))
                await socket.close()
                return
        else:
            return


def _results(said: Said) -> dict[str, Any]:
    """Return a ListenV1Results."""
    final = said.kind == "final"
    alternative = {"transcript": said.text, "confidence": 0.99, "words": [_word(word) for word in said.words]}
    return {
        "type": "Results",
        "channel_index": [0, 1],
        "start": said.start / CALLER_HZ,
        "duration": (said.until - said.start) / CALLER_HZ,
        "is_final": final,
        "speech_final": final and not said.forced,
        "from_finalize": said.forced,
        "channel": {"alternatives": [alternative]},
        "metadata": {
            "request_id": REQUEST,
            "model_info": {"name": "stand-in", "version": "1", "arch": "nova-3"},
            "model_uuid": REQUEST,
        },
    }


def _word(word: TimedWord) -> dict[str, Any]:
    plain = word.text.strip(".,?!").lower()
    return {
        "word": plain, "punctuated_word": word.text, "start": word.start_s, "end": word.end_s, "confidence": 0.99,
    }  # fmt: skip


# --- Flux -------------------------------------------------------------------------------------------------------------

_EVENTS = {
    "began": "StartOfTurn",
    "interim": "Update",
    "eager": "EagerEndOfTurn",
    "resumed": "TurnResumed",
    "final": "EndOfTurn",
}


async def _flux(server: SpeechServer, connection: Connection, eager: bool) -> None:
    socket, channel, wrong = connection
    ear = Ear(server.transcribe, eager)
    sequence, turn = 0, 0

    async def send(message: dict[str, Any]) -> None:
        nonlocal sequence
        await channel.send(json.dumps({**message, "request_id": REQUEST, "sequence_id": sequence}))
        sequence += 1

    async def tell(said: Said) -> None:
        """Send a ListenV2TurnInfo."""
        nonlocal turn
        if said.kind == "final" and wrong == "never_final":
            return
        message = {
            "type": "TurnInfo",
            "event": _EVENTS[said.kind],
            "turn_index": turn,
            "audio_window_start": said.start / CALLER_HZ,
            "audio_window_end": said.until / CALLER_HZ,
            "transcript": said.text,
            "words": [{"word": word.text, "confidence": 0.99, "start": word.start_s, "end": word.end_s}
                      for word in said.words],
            "end_of_turn_confidence": {"final": SURE, "eager": UNSURE}.get(said.kind, 0.1),
        }  # fmt: skip
        if said.kind == "final":
            message["trigger"] = "manual" if said.forced else "model"
            turn += 1
        for _ in range(2 if said.kind == "final" and wrong == "duplicate_final" else 1):
            await send(message)

    await send({"type": "Connected"})  # ListenV2Connected
    async for received in socket:
        if received.type is WSMsgType.BINARY:
            server.audio_bytes += len(received.data)
            for said in await ear.feed(received.data):
                await tell(said)
        elif received.type is WSMsgType.TEXT:
            kind = received.json()["type"]  # ListenV2ForceEndTurn, ListenV2CloseStream
            server.received.append(kind)
            if kind == "ForceEndTurn":
                await tell(await ear.finalize())
            elif kind == "CloseStream":
                await tell(await ear.finalize())
                await socket.close()
                return
