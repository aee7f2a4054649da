"""Deepgram's Aura (`/v1/speak`) and Flux TTS (`/v2/speak`) over a websocket, one turn at a time. No word times.

Neither wire labels its audio with the text, so turns do not share a socket. A finished turn leaves it to the next one;
a cancelled turn closes it, and the next one is opened at once. Without Deepgram's SDK: 7.17 reads every unknown message
of this socket as `Flushed`.
"""

import json
import re
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager
from typing import Annotated

import msgspec
from pydantic import Field

from schemas.audio import AGENT_HZ
from stages.runtime.providers import ProviderContext, ProviderError
from stages.runtime.vendor_http import Endpoint
from stages.runtime.vendor_socket import decode
from stages.tts.context_provider import ContextProvider, open_context_provider
from stages.tts.contract import Capabilities
from stages.tts.shared_socket import Audio, Failure, PieceEnd, Received, Target
from stages.tts.voice_options import PathName, VoiceOptions

KEY = "DEEPGRAM_API_KEY"
HOME = "https://api.deepgram.com"
FLUSHES = 20  # Aura takes no more within 60 s on one socket: each socket gets so many at all


class Options(VoiceOptions):
    """model: `aura-2` or `flux`, or a whole name such as `aura-2-thalia-en`, which then names voice and language."""

    model: PathName = "aura-2"
    voice: PathName = "thalia"
    speed: Annotated[float, Field(ge=0.7, le=1.5)] | None = None


class _Message(msgspec.Struct):
    type: str
    code: str = ""


_CODE = re.compile(r"[A-Z][A-Z0-9_-]{1,40}")
_MESSAGES = msgspec.json.Decoder(_Message)


class DeepgramWire:
    """The messages of one session."""

    rate = AGENT_HZ
    per_piece = False
    exclusive = True

    def __init__(self, endpoint: Endpoint, options: Options) -> None:
        model, language = options.model, options.language.partition("-")[0]
        if model in ("aura-2", "flux"):
            model = f"{model}-{options.voice}-{language if options.languages else 'en'}"
        flux = model.startswith("flux")
        query = [("model", model), ("encoding", "linear16"), ("sample_rate", str(AGENT_HZ))]
        if options.speed is not None:
            query.append(("speed", f"{options.speed:g}"))
        headers = {"Authorization": f"Token {endpoint.key}"} if endpoint.key else {}
        path = "/v2/speak" if flux else "/v1/speak"
        self.target = Target("Deepgram", endpoint, path, headers, tuple(query), read_flux if flux else read_aura, 1)
        self.most_pieces = None if flux else FLUSHES
        self.capabilities = Capabilities(rates=(AGENT_HZ,), cancel="close", languages=options.languages)
        self.spoken = options.spoken

    def say(self, context: str, text: str, *, first: bool) -> list[str]:
        """The text, and a flush whose end the vendor confirms."""
        return [json.dumps({"type": "Speak", "text": text}), json.dumps({"type": "Flush"})]

    def finish(self, context: str) -> list[str]:
        """Nothing: the socket goes to the next turn."""
        return []

    def cancel(self, context: str) -> list[str]:
        """Nothing: the socket is closed."""
        return []


def read_aura(data: str | bytes) -> Iterator[Received]:
    """Yield the meaning of one message of `/v1/speak`. Raises ProviderError."""
    yield from _read(data, end="Flushed", failures=("Error", "Warning"))  # behind a warning comes no audio of the text


def read_flux(data: str | bytes) -> Iterator[Received]:
    """Yield the meaning of one message of `/v2/speak`. Raises ProviderError."""
    yield from _read(data, end="SpeechMetadata", failures=("Error",))


def _read(data: str | bytes, *, end: str, failures: tuple[str, ...]) -> Iterator[Received]:
    if isinstance(data, bytes):
        yield Audio("", data)
        return
    message = decode(_MESSAGES, data)
    if message.type == end:
        yield PieceEnd("")
    elif message.type in failures:
        code = f" ({message.code})" if _CODE.fullmatch(message.code) else ""
        yield Failure("", ProviderError("server", f"Deepgram cannot speak the text{code}", retryable=True))


def open_provider(context: ProviderContext) -> AbstractAsyncContextManager[ContextProvider[Options]]:
    """Connect when a session opens: each agent document names its voice."""
    return open_context_provider(context, KEY, HOME, Options, DeepgramWire)
