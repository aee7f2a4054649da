"""A stand-in of OpenAI's `/v1/audio/speech`: one POST, an answer of streamed PCM.

async with openai_speech_server() as server:
    server.faults.queue(Close(after=3))
    ...                                     # any client, at server.url
    assert server.asked[0]["voice"] == "alloy"

Written from https://platform.openai.com/docs/api-reference/audio/createSpeech and the request types of the package
`openai` 3.54 (`types/audio/speech_create_params.py`): `model`, `voice` and `input` are required, `response_format`
`pcm` is 24 kHz PCM16 mono without a header, `speed` lies between 0.25 and 4.0, `input` has at most 4,096 characters.
Errors: `{"error": {"message", "type", "param", "code"}}`.
"""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

from antiphon_testing.vendors.faults import Faults, Refuse, Wrong, http_channel, refused
from antiphon_testing.vendors.local_server import local_server
from antiphon_testing.vendors.voices import ToneVoice, VendorVoice

MOST_CHARACTERS = 4_096


class OpenAISpeechServer:
    """A running stand-in.

    asked, keys: bodies (Any: the vendor's JSON) and Authorization of the requests. sent: chunks of audio so far.
    """

    def __init__(self, voice: VendorVoice) -> None:
        self.faults = Faults()
        self.asked: list[dict[str, Any]] = []
        self.keys: list[str] = []
        self.sent = 0
        self.url = ""
        self._voice = voice

    async def answer(self, request: web.Request) -> web.StreamResponse:
        asked = await request.json()
        self.asked.append(asked)
        self.keys.append(request.headers.get("Authorization", ""))
        fault = self.faults.take()
        message, code = (fault.message, fault.code) if isinstance(fault, Refuse) else ("", "")
        if refusal := refused(request, fault, _error(message, code)):
            return refusal
        if wrong := _wrong(asked):
            return web.Response(status=400, body=_error(wrong, "invalid_value"), content_type="application/json")
        rate = ";rate=16000" if fault == Wrong("rate") else ""
        async with http_channel(request, fault, f"audio/pcm{rate}") as channel:
            for pcm, _ in (await self._voice.speak(asked["input"])).chunks():
                await channel.send(pcm)
                self.sent += 1
        if not channel.response.prepared:
            await channel.response.prepare(request)
        return channel.response


@asynccontextmanager
async def openai_speech_server(voice: VendorVoice | None = None) -> AsyncIterator[OpenAISpeechServer]:
    """Run a stand-in on a free port of this machine; `url` is what `base_url` wants."""
    server = OpenAISpeechServer(voice or ToneVoice())
    async with local_server([web.post("/v1/audio/speech", server.answer)]) as address:
        server.url = f"http://{address}/v1"
        yield server


def _wrong(asked: dict[str, Any]) -> str:
    if not all(isinstance(asked.get(name), str) and asked[name] for name in ("model", "voice", "input")):
        return "model, voice and input are required"
    if len(asked["input"]) > MOST_CHARACTERS:
        return "input is too long"
    if asked.get("response_format") != "pcm":
        return "this stand-in speaks pcm only"
    return "" if 0.25 <= asked.get("speed", 1.0) <= 4 else "speed is out of range"


def _error(message: str, code: str) -> bytes:
    return json.dumps({"error": {"message": message, "type": "x", "param": None, "code": code}}).encode()
