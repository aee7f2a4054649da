"""OpenAI's voices over HTTP, and every vendor or local server with the same `/audio/speech`. No word times.

One request for each piece of a sentence; the answer streams. Without OpenAI's SDK, for the reasons of decision 26.
"""

import re
import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Annotated, Any

import aiohttp
import msgspec
from pydantic import Field

from schemas.audio import AGENT_HZ, SAMPLE_BYTES
from schemas.events import ProviderErrorKind
from stages.runtime.providers import ProviderContext, ProviderError, parse_options
from stages.runtime.vendor_http import Endpoint, VendorHttp, open_http
from stages.tts.contract import Capabilities
from stages.tts.pieces import pieces
from stages.tts.refusals import refused
from stages.tts.sentence_synthesizer import SentenceSynthesizer
from stages.tts.voice_options import Name, VoiceOptions

KEY = "OPENAI_API_KEY"
HOMES = {KEY: "https://api.openai.com/v1"}
RATE = AGENT_HZ  # of the format `pcm`, which has no header: OpenAI's documentation of /audio/speech
CONNECT_S = 3.0  # a handshake across an ocean takes 0.5 s
TRIES = 2  # the second hides a kept-alive connection that the server had closed
MAX_ERROR = 64_000  # bytes of an error that are read
_SOUND = ("audio/", "application/octet-stream", "binary/")  # servers name PCM in many ways, an error is JSON

_RATE_PARAMETER = re.compile(r";\s*rate=(\d{1,6})")  # RFC 2586 of audio/L16; other servers write it behind audio/pcm
FASTEST = 60  # letters and digits a second: four times as fast as reading aloud, so nothing whole is refused

_BROKEN = (aiohttp.ClientError, TimeoutError, OSError)


class Options(VoiceOptions):
    """instructions: how the voice is to sound, for models that read them. timeout: seconds without a byte."""

    model: Name = "gpt-4o-mini-tts"
    voice: Name = "alloy"
    speed: Annotated[float, Field(ge=0.25, le=4)] | None = None  # some servers refuse any
    instructions: Annotated[str, Field(max_length=4_000)] | None = None
    timeout_s: Annotated[float, Field(gt=0, le=10, alias="timeout")] = 10.0


class Speech:
    """The voice of one session."""

    def __init__(self, endpoint: Endpoint, options: Options) -> None:
        self._endpoint = endpoint
        self._options = options
        self._timeout = aiohttp.ClientTimeout(
            total=None, sock_connect=min(CONNECT_S, options.timeout_s), sock_read=options.timeout_s
        )

    async def speak(self, text: str) -> AsyncGenerator[bytes, None]:
        """Yield the PCM of `text` as the server streams it. Raises ProviderError."""
        for piece in pieces(self._options.spoken(text)):
            try:
                async with await self._ask(piece) as response:
                    _check_format(response)
                    size = 0
                    async for received in response.content.iter_any():
                        if not size and received.startswith(b"RIFF"):
                            raise ProviderError("server", "the answer is a WAV file, not the PCM that was asked for")
                        size += len(received)
                        yield received
                if not plausible(piece, size // SAMPLE_BYTES, self._options.speed or 1.0):
                    raise ProviderError("server", "the audio ended before its text", retryable=True)
            except _BROKEN as error:
                raise _broken(error) from None  # the original may hold the text

    async def _ask(self, text: str) -> aiohttp.ClientResponse:
        """Return the response of a server that accepted the request. Raises ProviderError after the last try."""
        key, url = self._endpoint.key, f"{self._endpoint.url}/audio/speech"
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        for tries_left in reversed(range(TRIES)):
            try:
                response = await self._endpoint.http.post(
                    url, json=self._body(text), headers=headers, timeout=self._timeout
                )
            except (ConnectionError, aiohttp.ServerDisconnectedError) as error:
                if not tries_left:
                    raise _broken(error) from None
                continue
            if response.status == HTTPStatus.OK:
                return response
            async with response:
                raise refused(response.status, await _code(response), response.headers, time.time())
        raise AssertionError("unreachable")

    def _body(self, text: str) -> dict[str, object]:
        options = self._options
        body: dict[str, object] = {
            "model": options.model,
            "voice": options.voice,
            "input": text,
            "response_format": "pcm",
        }
        if options.speed is not None:
            body["speed"] = options.speed
        if options.instructions is not None:
            body["instructions"] = options.instructions
        return body


class OpenAI:
    """The connections of one worker, kept open between calls so that no sentence waits for a handshake."""

    capacity = None

    def __init__(self, http: VendorHttp) -> None:
        self._http = http

    @asynccontextmanager
    async def open(self, options: Mapping[str, Any]) -> AsyncIterator[SentenceSynthesizer]:
        """Open a voice. Raises ProviderMissing that names the key's variable if the vendor needs one."""
        chosen = parse_options(Options, options)
        speech = Speech(await self._http.endpoint(KEY, chosen.base_url), chosen)
        capabilities = Capabilities(rates=(RATE,), languages=chosen.languages)
        yield SentenceSynthesizer(speech.speak, rate=RATE, capabilities=capabilities)


@asynccontextmanager
async def open_provider(context: ProviderContext) -> AsyncIterator[OpenAI]:
    """Connects nowhere yet: each agent document names its server."""
    async with open_http(context, HOMES) as http:
        yield OpenAI(http)


def plausible(text: str, samples: int, speed: float) -> bool:
    """Return whether `samples` at 24 kHz can hold all of `text`: a body that ends early looks complete in HTTP."""
    return samples * FASTEST * speed >= sum(map(str.isalnum, text)) * RATE


def _check_format(response: aiohttp.ClientResponse) -> None:
    """Raise ProviderError unless the answer is audio at 24 kHz, as far as its content type says."""
    if not response.content_type.startswith(_SOUND):
        raise ProviderError("server", f"the answer is {response.content_type}, not audio")
    rate = _RATE_PARAMETER.search(response.headers.get("Content-Type", ""))
    if rate and int(rate[1]) != RATE:
        raise ProviderError("server", f"the answer is PCM at {rate[1]} Hz, not at {RATE} Hz")


async def _code(response: aiohttp.ClientResponse) -> object:
    """Return the code of the vendor's error: `{"error": {"code": ..., "type": ...}}`."""
    try:
        body = msgspec.json.decode(await response.content.read(MAX_ERROR))
    except (msgspec.MsgspecError, *_BROKEN):
        return ""
    error = body.get("error") if isinstance(body, dict) else None
    return (error.get("code") or error.get("type") or "") if isinstance(error, dict) else ""


def _broken(error: Exception) -> ProviderError:
    kind: ProviderErrorKind = "timeout" if isinstance(error, TimeoutError) else "connection"
    return ProviderError(kind, type(error).__name__, retryable=True)
