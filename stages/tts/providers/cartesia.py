"""Cartesia's Sonic over its websocket: contexts of all sessions of a worker share one connection. Word times.

Without Cartesia's SDK: version 4.2 waits for ever when its socket closes or a context is cancelled, hands out the dead
connection when it reconnects, and drops errors without a context.
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
    Failure,
    PieceEnd,
    Received,
    Target,
    Words,
    from_base64,
)
from stages.tts.voice_options import Name, VoiceOptions

KEY = "CARTESIA_API_KEY"
HOME = "https://api.cartesia.ai"
VERSION = "2026-03-01"  # of the API: the newest whose websocket is documented
MOST = 50  # turns on one socket, each with one context; an account's own limit is lower


class Options(VoiceOptions):
    """voice: an id of Cartesia's library. A pronunciation may be IPA of Cartesia's form: `<<w|i|n>>`."""

    model: Name = "sonic-3"
    voice: Name = "a0e99841-438c-4a64-b679-ae501e7d6091"  # the voice of Cartesia's own examples
    speed: Annotated[float, Field(ge=0.6, le=1.5)] | None = None


class _WordTimestamps(msgspec.Struct):
    words: list[str] = []
    start: list[float] = []
    end: list[float] = []


class _Message(msgspec.Struct):
    """The fields that are read of each message of the vendor."""

    type: str
    context_id: str = ""
    data: str = ""
    word_timestamps: _WordTimestamps | None = None
    status_code: int = 500
    error_code: str = ""


_MESSAGES = msgspec.json.Decoder(_Message)


class CartesiaWire:
    """The messages of one session."""

    rate = AGENT_HZ
    per_piece = False
    exclusive = False
    most_pieces: int | None = None

    def __init__(self, endpoint: Endpoint, options: Options) -> None:
        headers = {"Cartesia-Version": VERSION}
        if endpoint.key:
            headers["Authorization"] = f"Bearer {endpoint.key}"
        self.target = Target("Cartesia", endpoint, "/tts/websocket", headers, (), read, MOST)
        self.capabilities = Capabilities(
            rates=(AGENT_HZ,), word_times=True, multiplexed=True, cancel="message", languages=options.languages
        )
        self.spoken = options.spoken
        language = options.language.partition("-")[0]
        self._request: dict[str, object] = {
            "model_id": options.model,
            "voice": {"mode": "id", "id": options.voice},
            "output_format": {"container": "raw", "encoding": "pcm_s16le", "sample_rate": AGENT_HZ},
            "add_timestamps": True,
            "max_buffer_delay_ms": 0,  # whole sentences are sent, so the vendor need not wait for more text
            **({"language": language} if options.languages else {}),
            **({"generation_config": {"speed": options.speed}} if options.speed is not None else {}),
        }

    def say(self, context: str, text: str, *, first: bool) -> list[str]:
        """A transcript and a flush: `flush_done` confirms that its audio has come. Transcripts are joined verbatim."""
        return [self._message(context, text if first else f" {text}"), self._message(context, "", flush=True)]

    def finish(self, context: str) -> list[str]:
        """An empty transcript that none follows."""
        return [self._message(context, "", **{"continue": False})]

    def cancel(self, context: str) -> list[str]:
        """The vendor generates nothing more of the context."""
        return [json.dumps({"context_id": context, "cancel": True})]

    def _message(self, context: str, text: str, **fields: object) -> str:
        return json.dumps({**self._request, "context_id": context, "transcript": text, "continue": True, **fields})


def read(data: str | bytes) -> Iterator[Received]:
    """Yield the meaning of one message. Raises ProviderError."""
    message = decode(_MESSAGES, data)
    context = message.context_id
    match message.type:
        case "chunk":
            yield Audio(context, from_base64(message.data))
        case "timestamps" if message.word_timestamps:
            times = message.word_timestamps
            words = zip(times.words, times.start, times.end, strict=False)
            yield Words(context, tuple((word, round(start * 1000), round(end * 1000)) for word, start, end in words))
        case "flush_done":
            yield PieceEnd(context)
        case "error":
            yield Failure(context, refused(message.status_code, message.error_code))


def open_provider(context: ProviderContext) -> AbstractAsyncContextManager[ContextProvider[Options]]:
    """Connect when a session opens: each agent document names its server."""
    return open_context_provider(context, KEY, HOME, Options, CartesiaWire)
