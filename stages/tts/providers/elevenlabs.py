"""ElevenLabs over its multi-context websocket: each piece of text is a context. Word times from the characters' times.

The vendor confirms the end of a context, and no flush. So a context takes one piece, and is closed behind it: what was
flushed is still spoken. Without ElevenLabs' SDK, which has no asynchronous client of this websocket.
"""

import json
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager
from typing import Annotated

import msgspec
from pydantic import Field

from schemas.audio import AGENT_HZ
from stages.runtime.providers import ProviderContext
from stages.runtime.vendor_http import Endpoint
from stages.runtime.vendor_socket import decode
from stages.tts.context_provider import ContextProvider, open_context_provider
from stages.tts.contract import Capabilities
from stages.tts.refusals import refused
from stages.tts.shared_socket import (
    Audio,
    Characters,
    Failure,
    PieceEnd,
    Received,
    Target,
    from_base64,
)
from stages.tts.voice_options import Name, PathName, VoiceOptions

KEY = "ELEVENLABS_API_KEY"
HOME = "https://api.elevenlabs.io"
TURNS = 2  # on one socket: a turn has up to two contexts, and the vendor allows five
INACTIVITY_S = 180  # the longest that the vendor allows; the socket then survives a long pause of the call
# Only these models take a language; others detect it, and refuse the parameter.
WITH_LANGUAGE = ("eleven_flash_v2_5", "eleven_turbo_v2_5")

# Codes of the vendor's `error` -> the HTTP status that means the same.
_STATUS = {
    "invalid_api_key": 401,
    "missing_permissions": 403,
    "quota_exceeded": 402,
    "payment_required": 402,
    "too_many_concurrent_requests": 429,
    "max_active_conversations": 429,
    "rate_limit_exceeded": 429,
    "voice_not_found": 404,
    "model_not_found": 404,
    "invalid_request": 400,
}


class Options(VoiceOptions):
    """voice: an id of the account's voices. stability, similarity: of the voice's settings, by default its own."""

    model: Name = "eleven_flash_v2_5"
    voice: PathName = "JBFqnCBsd6RMkjVDRZzb"  # the voice of ElevenLabs' own examples
    speed: Annotated[float, Field(ge=0.7, le=1.2)] | None = None
    stability: Annotated[float, Field(ge=0, le=1)] | None = None
    similarity: Annotated[float, Field(ge=0, le=1)] | None = None


class _Alignment(msgspec.Struct):
    chars: list[str] = []
    charStartTimesMs: list[float] = []
    charDurationsMs: list[float] = []


class _Message(msgspec.Struct):
    """The fields that are read of each message of the vendor."""

    contextId: str | None = None
    audio: str | None = None
    alignment: _Alignment | None = None
    isFinal: bool | None = None
    error: str | None = None


_MESSAGES = msgspec.json.Decoder(_Message)


class ElevenLabsWire:
    """The messages of one session."""

    rate = AGENT_HZ
    per_piece = True
    exclusive = False
    most_pieces: int | None = None

    def __init__(self, endpoint: Endpoint, options: Options) -> None:
        query = [
            ("model_id", options.model),
            ("output_format", f"pcm_{AGENT_HZ}"),
            ("inactivity_timeout", str(INACTIVITY_S)),
            ("sync_alignment", "true"),
            ("auto_mode", "true"),  # whole sentences are sent: the vendor need not wait for more text
        ]
        if options.languages and options.model in WITH_LANGUAGE:
            query.append(("language_code", options.language.partition("-")[0]))
        headers = {"xi-api-key": endpoint.key} if endpoint.key else {}
        path = f"/v1/text-to-speech/{options.voice}/multi-stream-input"
        self.target = Target("ElevenLabs", endpoint, path, headers, tuple(query), read, TURNS)
        self.capabilities = Capabilities(
            rates=(AGENT_HZ,), word_times=True, multiplexed=True, cancel="message", languages=options.languages
        )
        self.spoken = options.spoken
        settings = {"speed": options.speed, "stability": options.stability, "similarity_boost": options.similarity}
        self._settings = {name: value for name, value in settings.items() if value is not None}

    def say(self, context: str, text: str, *, first: bool) -> list[str]:
        """Open a context, flush the text in it, and close it."""
        opening = {"text": " ", "context_id": context, **({"voice_settings": self._settings} if self._settings else {})}
        return [
            json.dumps(opening),
            json.dumps({"text": f"{text} ", "context_id": context, "flush": True}),
            *self.cancel(context),
        ]

    def finish(self, context: str) -> list[str]:
        """Nothing: each context was closed with its text."""
        return []

    def cancel(self, context: str) -> list[str]:
        """Close the context. Text that was flushed is still generated, and paid for."""
        return [json.dumps({"context_id": context, "close_context": True})]


def read(data: str | bytes) -> Iterator[Received]:
    """Yield the meaning of one message. Raises ProviderError."""
    message = decode(_MESSAGES, data)
    context = message.contextId or ""
    if message.error is not None:
        yield Failure(context, refused(_STATUS.get(message.error, 500), message.error))
        return
    if (times := message.alignment) is not None:
        characters = zip(times.chars, times.charStartTimesMs, times.charDurationsMs, strict=False)
        yield Characters(context, tuple((char, round(at), round(at + lasts)) for char, at, lasts in characters))
    if message.audio:
        yield Audio(context, from_base64(message.audio))
    if message.isFinal:
        yield PieceEnd(context)


def open_provider(context: ProviderContext) -> AbstractAsyncContextManager[ContextProvider[Options]]:
    """Connect when a session opens: each agent document names its voice."""
    return open_context_provider(context, KEY, HOME, Options, ElevenLabsWire)
