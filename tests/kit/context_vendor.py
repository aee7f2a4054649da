"""A vendor of speech with one context for each turn, flush marks, word times and 16 kHz, and an adapter to it.

It answers each message as Cartesia and ElevenLabs do: some chunks of audio, the times of the words, a flush mark.
"""

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass

import numpy as np

from schemas.events import Word
from stages.runtime.providers import ProviderError
from stages.tts.contract import AudioChunk, Capabilities

RATE = 16_000
WORD_MS = 200  # of audio, in one chunk
HZ = 440
BUFFERED = 4  # messages that a context keeps for the stage


@dataclass(frozen=True)
class Reply:
    """A message of the vendor. done: the flush mark of the segment. error: the context failed."""

    segment: int
    pcm: bytes = b""
    word: Word | None = None
    done: bool = False
    error: str = ""


class ContextVendor:
    """The vendor's side. chunks: all that it made. cancelled: contexts that were cancelled. broken: it fails now."""

    def __init__(self) -> None:
        self.chunks = 0
        self.cancelled = 0
        self.broken = False

    async def serve(self, requests: "asyncio.Queue[tuple[int, str]]", replies: "asyncio.Queue[Reply]") -> None:
        """Answer one context until its task is cancelled."""
        while True:
            segment, text = await requests.get()
            if self.broken:
                await replies.put(Reply(segment, error="the context is broken"))
                return
            words = [word for word in text.split() if any(letter.isalnum() for letter in word)]
            for number, word in enumerate(words):
                start = number * WORD_MS
                self.chunks += 1
                pcm = tone(start, WORD_MS)
                await replies.put(Reply(segment, pcm, Word(word, start, start + WORD_MS)))
            await replies.put(Reply(segment, done=True))


class ContextTurn:
    """The adapter's turn: one context."""

    def __init__(self, vendor: ContextVendor) -> None:
        self._vendor = vendor
        self._requests: asyncio.Queue[tuple[int, str]] = asyncio.Queue()
        self._replies: asyncio.Queue[Reply] = asyncio.Queue(BUFFERED)
        self._context = asyncio.create_task(vendor.serve(self._requests, self._replies))
        self._open = 0  # segments without their flush mark
        self._changed = asyncio.Event()
        self._ended = False
        self._cancelled = False

    def push(self, segment: int, text: str) -> None:
        self._open += 1
        self._requests.put_nowait((segment, text))
        self._changed.set()

    def end(self) -> None:
        self._ended = True
        self._changed.set()

    async def chunks(self) -> AsyncGenerator[AudioChunk, None]:
        while not self._cancelled and (self._open or not self._ended):
            if not self._open:
                self._changed.clear()
                await self._changed.wait()
                continue
            reply = await self._replies.get()
            if reply.error:
                raise ProviderError("server", reply.error, retryable=True)
            self._open -= reply.done
            words = (reply.word,) if reply.word else ()
            yield AudioChunk(reply.pcm, RATE, reply.segment, reply.done, words)

    async def cancel(self) -> None:
        if not self._cancelled:
            self._cancelled = True
            self._vendor.cancelled += 1
            self._context.cancel()
            await asyncio.wait({self._context})


class ContextSynthesizer:
    """The adapter's voice of one session."""

    capabilities = Capabilities(rates=(RATE,), word_times=True, multiplexed=True, cancel="message")

    def __init__(self, vendor: ContextVendor) -> None:
        self._vendor = vendor

    def open_turn(self) -> ContextTurn:
        return ContextTurn(self._vendor)


def tone(start_ms: int, ms: int, rate: int = RATE) -> bytes:
    """Return `ms` of a tone of HZ as PCM16, in phase with what comes before `start_ms`."""
    times = np.arange(start_ms * rate // 1000, (start_ms + ms) * rate // 1000) / rate
    return (8_000 * np.sin(2 * np.pi * HZ * times)).astype("<i2").tobytes()
