"""AssemblyAI's Universal Streaming over a websocket (/v3/ws), which judges the end of turns.

Protocol: https://www.assemblyai.com/docs/api-reference/streaming-api/streaming-api
"""

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Annotated, Any

import msgspec
from pydantic import BaseModel, ConfigDict, Field

from schemas.audio import CALLER_HZ, SAMPLE_BYTES
from schemas.events import ProviderErrorKind
from stages.runtime.providers import ProviderContext, ProviderError, parse_options
from stages.runtime.vendor_http import VendorHttp, open_http
from stages.runtime.vendor_socket import VendorSocket, decode, open_socket
from stages.stt.contract import Capabilities, Heard, HeardEndOfTurn, HeardInterim, HeardSpeechStarted, Recognizer, Voice
from stages.stt.vendor_clock import VendorClock

KEY = "ASSEMBLYAI_API_KEY"
HOMES = {KEY: "https://streaming.assemblyai.com"}
ENGLISH, MULTILINGUAL = "universal-streaming-english", "universal-streaming-multilingual"
MESSAGE = CALLER_HZ * SAMPLE_BYTES * 60 // 1000  # bytes: messages of less than 50 ms are refused
LONGEST_SILENCE_MS = 1_280  # AssemblyAI's default `max_turn_silence`, which ends a turn at any confidence
TURN_OVER_MS = 500  # to the end of the turn, behind that silence
CLOSES: dict[int, tuple[ProviderErrorKind, bool]] = {  # https://www.assemblyai.com/docs/streaming/common-session-errors
    1008: ("auth", False),
    3005: ("server", True),
    3006: ("bad_request", False),
    3007: ("bad_request", True),
    3008: ("timeout", True),
    3009: ("quota", True),
}


class Options(BaseModel):
    """model: of AssemblyAI's; None fits the language. language: a code, or `multi`. key_terms: words to expect.

    base_url: None is the worker's ASSEMBLYAI_BASE_URL, else AssemblyAI itself.
    turn_events: AssemblyAI ends turns; otherwise the worker's VAD asks for the text at each end of speech.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: Annotated[str, Field(min_length=1)] | None = None
    language: Annotated[str, Field(min_length=2)] = "en"
    key_terms: Annotated[list[str], Field(max_length=100)] = []
    base_url: Annotated[str, Field(pattern=r"^https?://")] | None = None
    turn_events: bool = True


def _query(options: Options) -> list[tuple[str, str]]:
    english = options.language.partition("-")[0].lower() == "en"
    query = [
        ("sample_rate", str(CALLER_HZ)),
        ("encoding", "pcm_s16le"),
        ("speech_model", options.model or (ENGLISH if english else MULTILINGUAL)),
        ("format_turns", "false"),  # the formatted text comes later, in a second message that ends the same turn
    ]
    if options.key_terms:
        query.append(("keyterms_prompt", msgspec.json.encode(options.key_terms).decode()))
    return query


class _Word(msgspec.Struct):
    """start, end: milliseconds of the audio that was sent."""

    text: str
    start: int = 0
    end: int = 0


class _Message(msgspec.Struct):
    """Begin, Turn, SpeechStarted, Termination or Error."""

    type: str = ""
    turn_order: int = 0
    end_of_turn: bool = False
    end_of_turn_confidence: float = 0.0
    transcript: str = ""
    words: tuple[_Word, ...] = ()
    timestamp: float = 0.0
    error: str = ""


_DECODER = msgspec.json.Decoder(_Message)


class Universal:
    """The recognizer of one caller."""

    def __init__(self, socket: VendorSocket, options: Options) -> None:
        self.capabilities = Capabilities(
            interims=True,
            turn_events=options.turn_events,
            word_times=True,
            force_end=True,
            final_within_ms=LONGEST_SILENCE_MS + TURN_OVER_MS if options.turn_events else None,
        )
        self._socket = socket
        self._clock = VendorClock()
        self._waiting = bytearray()  # audio that does not fill a message yet
        self._forced: list[int] = []  # samples of the vendor's audio at each force_end that has no final yet
        self._end = 0  # the caller's sample after the newest that was fed
        self._turn = -1  # the last that has ended
        self._settled_s = 0.0
        self._interim = ""

    def feed(self, pcm: bytes, at_sample: int) -> None:
        self._end = at_sample + len(pcm) // SAMPLE_BYTES
        self._clock.add(at_sample, len(pcm) // SAMPLE_BYTES)
        self._waiting += pcm
        if len(self._waiting) >= MESSAGE:
            self._flush()

    def force_end(self) -> None:
        self._flush()
        self._forced.append(self._clock.sent)
        self._socket.send('{"type":"ForceEndpoint"}')

    async def finish(self) -> None:
        self._flush()
        self._forced.append(self._clock.sent)
        self._socket.send('{"type":"ForceEndpoint"}')
        self._socket.send('{"type":"Terminate"}', last=True)

    async def heard(self) -> AsyncIterator[Heard]:
        async for data in self._socket.messages():
            for heard in self._read(decode(_DECODER, data)):
                yield heard

    def _flush(self) -> None:
        if self._waiting:
            self._socket.send(bytes(self._waiting).ljust(MESSAGE, b"\0"))
            padding = max(0, MESSAGE - len(self._waiting)) // SAMPLE_BYTES
            if padding:
                self._clock.add(self._clock.end, padding)
            self._waiting.clear()

    def _read(self, message: _Message) -> Iterator[Heard]:
        if message.error or message.type == "Error":
            raise ProviderError("server", "AssemblyAI reports an error", retryable=True)
        if message.type == "SpeechStarted":
            yield HeardSpeechStarted(self._clock.sample(message.timestamp / 1000))
        if message.type != "Turn" or message.turn_order <= self._turn:  # an end that comes twice counts once
            return
        words = [(word.text, word.start / 1000, word.end / 1000) for word in message.words]
        text = message.transcript if message.end_of_turn else " ".join(word for word, _, _ in words)
        until_s = words[-1][2] if words else self._settled_s
        if message.end_of_turn:
            self._turn, self._interim = message.turn_order, ""
            forced = bool(self._forced)
            if forced:  # all audio so far is settled, and not only the words
                until_s = max(until_s, self._forced.pop(0) / CALLER_HZ)
            start_s, self._settled_s = self._settled_s, max(self._settled_s, until_s)
            final = self._clock.final(text, start_s, self._settled_s, words, None if forced else True)
            start, until = min(final.start_sample, self._end), min(final.until_sample, self._end)  # without the padding
            yield replace(final, start_sample=start, until_sample=until)
        elif text:
            place = self._clock.sample(words[0][1]), self._clock.sample(until_s)
            if text != self._interim:
                self._interim = text
                yield HeardInterim(text, *place)
            if self.capabilities.turn_events and message.end_of_turn_confidence > 0:
                yield HeardEndOfTurn(place[1], min(1.0, message.end_of_turn_confidence), eager=True)


class AssemblyAI:
    """A websocket for each session; sessions share nothing."""

    capacity = None

    def __init__(self, http: VendorHttp) -> None:
        self._http = http

    @asynccontextmanager
    async def open(self, options: Mapping[str, Any], voice: Voice) -> AsyncIterator[Recognizer]:
        chosen = parse_options(Options, options)
        endpoint = await self._http.endpoint(KEY, chosen.base_url)
        headers = {"Authorization": endpoint.key} if endpoint.key else {}
        async with open_socket(
            endpoint, "AssemblyAI", "/v3/ws", headers=headers, query=_query(chosen), closes=CLOSES
        ) as socket:
            yield Universal(socket, chosen)


@asynccontextmanager
async def open_provider(context: ProviderContext) -> AsyncIterator[AssemblyAI]:
    """Connects nowhere yet."""
    async with open_http(context, HOMES) as http:
        yield AssemblyAI(http)
