"""Deepgram's recognizers over a websocket: Nova (/v1/listen) and Flux (/v2/listen), which judges the end of turns.

Without Deepgram's SDK: its websocket client follows redirects and resolves names past `vendor_http.py`, and decodes
each interim to pydantic models, some of the wrong class (docs/providers.md). Protocol:
https://developers.deepgram.com/reference/speech-to-text/listen-streaming and .../listen-flux.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from typing import Annotated, Any

import msgspec
from pydantic import BaseModel, ConfigDict, Field, model_validator

from schemas.audio import CALLER_HZ, SAMPLE_BYTES
from stages.runtime.providers import ProviderContext, ProviderError, parse_options
from stages.runtime.vendor_http import VendorHttp, open_http
from stages.runtime.vendor_socket import VendorSocket, decode, open_socket
from stages.stt.contract import (
    Capabilities,
    Heard,
    HeardEndOfTurn,
    HeardInterim,
    HeardSpeechStarted,
    HeardTurnResumed,
    Recognizer,
    Voice,
)
from stages.stt.vendor_clock import VendorClock

KEY = "DEEPGRAM_API_KEY"
HOMES = {KEY: "https://api.deepgram.com"}
KEEP_ALIVE_S = 4.0  # Deepgram closes a connection after 10 s without audio, and asks for one each 3 to 5 s
ENDPOINTING_MS = 300  # silence that makes Nova's text final by itself; the worker's VAD asks sooner
FILL_S = 0.5  # Flux has no keep-alive and judges turns by audio: it gets silence where the caller sends nothing
TURN_OVER_MS = 500  # to the EndOfTurn, behind the silence that `eot_timeout_ms` allows

Threshold = Annotated[float, Field(ge=0.3, le=0.9)]


class Options(BaseModel):
    """model: of Deepgram's. language: a code, or `multi`. key_terms: words to expect.

    base_url: None is the worker's DEEPGRAM_BASE_URL, else Deepgram itself. The rest is for Flux alone.
    eager: from this confidence on it guesses the end of a turn; None makes no guesses.
    end: from this confidence on the turn is over. end_within_ms: silence that ends it at any confidence.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: Annotated[str, Field(min_length=1)] = "nova-3"
    language: Annotated[str, Field(min_length=2)] = "en"
    key_terms: Annotated[list[str], Field(max_length=100)] = []
    base_url: Annotated[str, Field(pattern=r"^https?://")] | None = None
    eager: Threshold | None = 0.5
    end: Annotated[float, Field(ge=0.5, le=0.9)] = 0.7
    end_within_ms: Annotated[int, Field(ge=500, le=10_000)] = 5_000

    @model_validator(mode="after")
    def _model_knows_language(self) -> "Options":
        if self.model == "flux-general-en" and self.language.partition("-")[0].lower() != "en":
            raise ValueError(f"flux-general-en knows English only, not {self.language!r}: use flux-general-multi")
        return self

    @property
    def is_flux(self) -> bool:
        return self.model.startswith("flux")


def _query(options: Options) -> list[tuple[str, str]]:
    query = [("model", options.model), ("encoding", "linear16"), ("sample_rate", str(CALLER_HZ))]
    if options.is_flux:
        query += [("eot_threshold", f"{options.end:g}"), ("eot_timeout_ms", str(options.end_within_ms))]
        if options.eager is not None:
            query.append(("eager_eot_threshold", f"{min(options.eager, options.end):g}"))
        if options.model != "flux-general-en" and options.language != "multi":
            query.append(("language_hint", options.language))
    else:
        query += [("channels", "1"), ("language", options.language), ("interim_results", "true")]
        query += [("punctuate", "true"), ("vad_events", "true"), ("endpointing", str(ENDPOINTING_MS))]
    terms = "keywords" if options.model.startswith("nova-2") else "keyterm"
    return query + [(terms, term) for term in options.key_terms]


# --- Nova -------------------------------------------------------------------------------------------------------------


class _NovaWord(msgspec.Struct):
    word: str
    start: float
    end: float
    punctuated_word: str = ""


class _Alternative(msgspec.Struct):
    transcript: str = ""
    words: tuple[_NovaWord, ...] = ()


class _Channel(msgspec.Struct):
    alternatives: tuple[_Alternative, ...] = ()


class _NovaMessage(msgspec.Struct):
    """ListenV1Results, SpeechStarted, Metadata or Error; `channel` is [0, 1] in all but the first."""

    type: str
    channel: _Channel | tuple[int, ...] = ()
    start: float = 0.0
    duration: float | None = None
    is_final: bool = False
    timestamp: float = 0.0


_NOVA = msgspec.json.Decoder(_NovaMessage)


class Nova:
    """The recognizer of one caller."""

    capabilities = Capabilities(interims=True, word_times=True, force_end=True, keep_alive=True)

    def __init__(self, socket: VendorSocket) -> None:
        self._socket = socket
        self._clock = VendorClock()
        self._settled = 0.0  # seconds of the vendor's time that have their final

    def feed(self, pcm: bytes, at_sample: int) -> None:
        self._clock.add(at_sample, len(pcm) // SAMPLE_BYTES)
        self._socket.send(pcm)

    def force_end(self) -> None:
        self._socket.send('{"type":"Finalize"}')

    async def finish(self) -> None:
        self._socket.send('{"type":"CloseStream"}', last=True)

    async def heard(self) -> AsyncIterator[Heard]:
        async for data in self._socket.messages():
            for heard in self._read(decode(_NOVA, data)):
                yield heard

    async def keep_open(self) -> None:
        """Send a keep-alive message now and then; one beside audio does no harm."""
        while True:
            await asyncio.sleep(KEEP_ALIVE_S)
            self._socket.send('{"type":"KeepAlive"}')

    def _read(self, message: _NovaMessage) -> Iterator[Heard]:
        if message.type == "Error":
            raise ProviderError("server", "Deepgram reports an error", retryable=True)
        if message.type == "SpeechStarted":
            yield HeardSpeechStarted(self._clock.sample(message.timestamp))
        if message.type != "Results" or not isinstance(message.channel, _Channel):
            return
        best = message.channel.alternatives[0] if message.channel.alternatives else _Alternative()
        end = message.start + (message.duration or 0.0)
        start, until = self._clock.sample(message.start), self._clock.sample(end)
        if not message.is_final:
            if best.transcript:
                yield HeardInterim(best.transcript, start, until)
        elif end > self._settled:  # a final that comes twice covers nothing new
            self._settled = end
            words = [(word.punctuated_word or word.word, word.start, word.end) for word in best.words]
            yield self._clock.final(best.transcript, message.start, end, words)


# --- Flux -------------------------------------------------------------------------------------------------------------


class _FluxWord(msgspec.Struct):
    word: str
    start: float | None = None
    end: float | None = None


class _FluxMessage(msgspec.Struct):
    """ListenV2TurnInfo, Connected, Warning or Error."""

    type: str
    event: str = ""
    turn_index: int = 0
    audio_window_start: float = 0.0
    audio_window_end: float = 0.0
    transcript: str = ""
    words: tuple[_FluxWord, ...] = ()
    end_of_turn_confidence: float = 0.0
    code: str = ""


_FLUX = msgspec.json.Decoder(_FluxMessage)


class Flux:
    """The recognizer of one caller, which judges the end of turns itself."""

    def __init__(self, socket: VendorSocket, options: Options) -> None:
        self.capabilities = Capabilities(
            interims=True,
            turn_events=True,
            word_times=True,
            force_end=True,
            final_within_ms=options.end_within_ms + TURN_OVER_MS,
        )
        self._socket = socket
        self._clock = VendorClock()
        self._fed = False  # since the last look
        self._turn = -1  # the last that has ended
        self._interim = ""

    def feed(self, pcm: bytes, at_sample: int) -> None:
        self._fed = True
        self._clock.add(at_sample, len(pcm) // SAMPLE_BYTES)
        self._socket.send(pcm)

    def force_end(self) -> None:
        self._socket.send('{"type":"ForceEndTurn"}')

    async def finish(self) -> None:
        self._socket.send('{"type":"CloseStream"}', last=True)

    async def heard(self) -> AsyncIterator[Heard]:
        async for data in self._socket.messages():
            for heard in self._read(decode(_FLUX, data)):
                yield heard

    async def keep_open(self) -> None:
        """Send silence where the caller sends nothing."""
        samples = int(FILL_S * CALLER_HZ)
        while True:
            await asyncio.sleep(FILL_S)
            if not self._fed and self._clock.sent:
                self._clock.add(self._clock.end, samples)
                self._socket.send(bytes(samples * SAMPLE_BYTES))
            self._fed = False

    def _read(self, message: _FluxMessage) -> Iterator[Heard]:
        if message.type == "Error":
            raise ProviderError("server", f"Flux reports an error{_code(message.code)}", retryable=True)
        if message.type != "TurnInfo" or message.turn_index <= self._turn:  # an EndOfTurn that comes twice counts once
            return
        start, until = self._clock.sample(message.audio_window_start), self._clock.sample(message.audio_window_end)
        match message.event:
            case "StartOfTurn":
                yield HeardSpeechStarted(start)
            case "EndOfTurn":
                self._turn, self._interim = message.turn_index, ""
                words = [
                    (word.word, word.start, word.end)
                    for word in message.words
                    if word.start is not None and word.end is not None
                ]
                window = message.audio_window_start, message.audio_window_end
                yield self._clock.final(message.transcript, *window, words, end_of_turn=True)
                return
        if message.transcript and message.transcript != self._interim:
            self._interim = message.transcript
            yield HeardInterim(message.transcript, start, until)
        if message.event == "EagerEndOfTurn":
            yield HeardEndOfTurn(until, min(1.0, max(0.0, message.end_of_turn_confidence)), eager=True)
        elif message.event == "TurnResumed":
            yield HeardTurnResumed(until)


def _code(code: str) -> str:
    return f": {code[:40]}" if code.replace("_", "").isalnum() else ""  # anything else may quote the caller


# --- the provider -----------------------------------------------------------------------------------------------------


class Deepgram:
    """A websocket for each session; sessions share nothing."""

    capacity = None

    def __init__(self, http: VendorHttp) -> None:
        self._http = http

    @asynccontextmanager
    async def open(self, options: Mapping[str, Any], voice: Voice) -> AsyncIterator[Recognizer]:
        chosen = parse_options(Options, options)
        endpoint = await self._http.endpoint(KEY, chosen.base_url)
        headers = {"Authorization": f"Token {endpoint.key}"} if endpoint.key else {}
        path = "/v2/listen" if chosen.is_flux else "/v1/listen"
        async with open_socket(endpoint, "Deepgram", path, headers=headers, query=_query(chosen)) as socket:
            recognizer = Flux(socket, chosen) if chosen.is_flux else Nova(socket)
            keeping = asyncio.create_task(recognizer.keep_open(), name="keep Deepgram open")
            try:
                yield recognizer
            finally:
                keeping.cancel()
                await asyncio.wait([keeping])


@asynccontextmanager
async def open_provider(context: ProviderContext) -> AsyncIterator[Deepgram]:
    """Connects nowhere yet."""
    async with open_http(context, HOMES) as http:
        yield Deepgram(http)
