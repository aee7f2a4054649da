"""The parts that all stand-in recognizers share: a websocket server with faults, and an ear that finds words.

`transcribe` gives the words: Moonshine for real speech (`local_transcriber`), or the token codec for tests in haste
(`token_transcriber`). The ear cuts the audio by loudness, as a vendor does by its own means.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from aiohttp import web

from antiphon_testing.vendors.faults import Channel, Faults, Wrong, refused, socket_channel
from antiphon_testing.vendors.local_server import local_server
from schemas.audio import CALLER_HZ, SAMPLE_BYTES

Transcribe = Callable[[bytes], Awaitable[str]]  # PCM16 mono at 16 kHz -> text

STEP = CALLER_HZ // 50  # 20 ms: loudness is judged so often
EAGER = CALLER_HZ * 200 // 1000  # silence after which a turn may be over
SILENT = CALLER_HZ * 400 // 1000  # silence after which it is over
INTERIM_EVERY = CALLER_HZ // 2
PREFIX = CALLER_HZ * 300 // 1000  # audio before the onset that is transcribed too
LOUD = 500  # root mean square of 20 ms: above the noise of a room, below speech


class TimedWord(NamedTuple):
    """A word and its seconds in the audio that the vendor was sent."""

    text: str
    start_s: float
    end_s: float


class Said(NamedTuple):
    """An output of the ear. until: samples of the vendor's audio that it covers; start: the first of them.

    kind: `began`, `interim`, `eager` (the turn may be over), `resumed` (it is not), `final` (it is).
    """

    kind: Literal["began", "interim", "eager", "resumed", "final"]
    start: int
    until: int
    words: tuple[TimedWord, ...] = ()
    forced: bool = False

    @property
    def text(self) -> str:
        return " ".join(word.text for word in self.words)


class Ear:
    """Hears one connection. Positions are samples at 16 kHz since its beginning."""

    def __init__(self, transcribe: Transcribe, eager: bool = False) -> None:
        self._transcribe = transcribe
        self._eager = eager
        self._audio = bytearray()
        self._judged = 0
        self._settled = 0
        self._onset = -1
        self._loud_until = 0
        self._interim = 0
        self._guessed = False

    @property
    def received(self) -> int:
        return len(self._audio) // SAMPLE_BYTES

    async def feed(self, pcm: bytes) -> list[Said]:
        """Take audio and return what is heard in it."""
        self._audio += pcm
        said: list[Said] = []
        while self._judged + STEP <= self.received:
            said += await self._step(self._cut(self._judged, self._judged + STEP))
        return said

    async def finalize(self) -> Said:
        """Return the text of all audio that has no final yet."""
        return await self._final(self.received, forced=True)

    async def _step(self, frame: bytes) -> list[Said]:
        self._judged += STEP
        silent = self._judged - self._loud_until
        if _rms(frame) > LOUD:
            self._loud_until = self._judged
            if self._onset < 0:
                self._onset = self._interim = self._judged - STEP
                return [Said("began", self._onset, self._judged)]
            if self._guessed:
                self._guessed = False
                return [Said("resumed", self._settled, self._judged, await self._words(self._judged))]
        elif self._onset >= 0 and silent >= SILENT:
            return [await self._final(self._judged)]
        elif self._onset >= 0 and silent >= EAGER and self._eager and not self._guessed:
            self._guessed = True
            return [Said("eager", self._settled, self._judged, await self._words(self._judged))]
        if self._onset >= 0 and self._judged - self._interim >= INTERIM_EVERY:
            self._interim = self._judged
            return [Said("interim", self._settled, self._judged, await self._words(self._judged))]
        return []

    async def _final(self, until: int, forced: bool = False) -> Said:
        said = Said("final", self._settled, until, await self._words(until), forced)
        self._settled, self._onset, self._guessed = until, -1, False
        return said

    async def _words(self, until: int) -> tuple[TimedWord, ...]:
        """Return the words since the onset, with times in proportion to their letters."""
        if self._onset < 0:
            return ()
        start = max(self._settled, self._onset - PREFIX)
        words = (await self._transcribe(self._cut(start, until))).split()
        letters, place = sum(map(len, words)), self._onset / CALLER_HZ
        lasts = max(0, self._loud_until - self._onset) / CALLER_HZ
        timed = []
        for word in words:
            end = place + lasts * len(word) / letters
            timed.append(TimedWord(word, round(place, 3), round(end, 3)))
            place = end
        return tuple(timed)

    def _cut(self, start: int, until: int) -> bytes:
        return bytes(self._audio[start * SAMPLE_BYTES : until * SAMPLE_BYTES])


@dataclass
class SpeechServer:
    """A running stand-in, as a test sees it.

    queries, keys: of each connection. received: the types of all text messages. open: connections now.
    """

    transcribe: Transcribe
    key: str = ""
    faults: Faults = field(default_factory=Faults)
    url: str = ""
    queries: list[dict[str, list[str]]] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    received: list[str] = field(default_factory=list)
    audio_bytes: int = 0
    connections: dict[web.WebSocketResponse, web.Request] = field(default_factory=dict)

    @property
    def open(self) -> int:
        return len(self.connections)

    def hang_up(self) -> None:
        """Drop every connection without a word."""
        for request in self.connections.values():
            if request.transport is not None:
                request.transport.abort()

    async def answer(
        self, request: web.Request, key: str, serve: Callable[["Connection"], Awaitable[None]]
    ) -> web.StreamResponse:
        """Let `serve` answer on a websocket, unless key or fault refuse it. key: as the client presented it."""
        self.queries.append({name: request.query.getall(name) for name in request.query})
        self.keys.append(key)
        fault = self.faults.take()
        if self.key and key != self.key:
            return web.json_response({"error": "wrong key"}, status=401)
        if refusal := refused(request, fault):
            return refusal
        socket = web.WebSocketResponse(compress=False)
        await socket.prepare(request)
        self.connections[socket] = request
        try:
            async with socket_channel(request, socket, fault) as channel:
                await serve(Connection(socket, channel, fault.what if isinstance(fault, Wrong) else ""))
        finally:
            del self.connections[socket]
        return socket


class Connection(NamedTuple):
    """wrong: the fault that the stand-in itself plays, such as `never_final`."""

    socket: web.WebSocketResponse
    channel: Channel
    wrong: str


@asynccontextmanager
async def serving(server: SpeechServer, *routes: web.AbstractRouteDef) -> AsyncIterator[SpeechServer]:
    """Run the stand-in on a free port."""
    async with local_server(routes) as where:
        server.url = f"http://{where}"
        yield server


async def token_transcriber(pcm: bytes) -> str:
    """Return the words that the token codec wrote into the audio."""
    from stages.tts.token_codec import decode

    return decode(pcm, CALLER_HZ)


@asynccontextmanager
async def local_transcriber() -> AsyncIterator[Transcribe]:
    """Open Moonshine in a thread of its own."""
    from stages.runtime.engine_thread import engine_thread
    from stages.stt.providers.local import Moonshine

    loop = asyncio.get_running_loop()
    with engine_thread("stand-in recognizer") as thread:
        moonshine = await loop.run_in_executor(thread, Moonshine)

        async def transcribe(pcm: bytes) -> str:
            return await loop.run_in_executor(thread, moonshine.transcribe, pcm)

        yield transcribe
        await loop.run_in_executor(thread, moonshine.close)


def _rms(pcm: bytes) -> float:
    import numpy

    samples = numpy.frombuffer(pcm, "<i2").astype("float32")
    return float(numpy.sqrt(numpy.mean(samples * samples))) if len(samples) else 0.0
