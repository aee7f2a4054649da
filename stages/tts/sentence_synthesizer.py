"""Wraps a vendor or an engine that speaks one sentence at a time, so that it fits the contract of a synthesizer."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Protocol

from schemas.audio import AGENT_HZ, SAMPLE_BYTES
from stages.tts.contract import AudioChunk, Capabilities


class SpeakSentence(Protocol):
    """The part that a provider writes: one async generator."""

    def __call__(self, text: str) -> AsyncGenerator[bytes, None]:
        """Yield PCM16 mono of `text` in pieces of any length, which may cut a sample in two. Raises ProviderError.

        Closing the generator stops the vendor's work at once.
        """


class SentenceSynthesizer:
    """A synthesizer that calls `speak` for each sentence, one after another, when the stage pulls its audio.

    rate: samples a second of the PCM that `speak` yields.
    """

    def __init__(self, speak: SpeakSentence, *, rate: int = AGENT_HZ, capabilities: Capabilities | None = None) -> None:
        self._speak = speak
        self._rate = rate
        self.capabilities = capabilities or Capabilities(rates=(rate,))

    def open_turn(self) -> "SentenceTurn":
        """Begin a turn."""
        return SentenceTurn(self._speak, self._rate)


class SentenceTurn:
    """The sentences of one turn that wait, and the one that is spoken."""

    def __init__(self, speak: SpeakSentence, rate: int) -> None:
        self._speak = speak
        self._rate = rate
        # None ends the turn. The stage bounds how many sentences wait.
        self._sentences: asyncio.Queue[tuple[int, str] | None] = asyncio.Queue()
        self._cancelled = False

    def push(self, segment: int, text: str) -> None:
        """Queue one sentence."""
        self._sentences.put_nowait((segment, text))

    def end(self) -> None:
        """Let `chunks` end after the sentences that were pushed."""
        self._sentences.put_nowait(None)

    async def chunks(self) -> AsyncGenerator[AudioChunk, None]:
        """Speak sentence after sentence. Raises the ProviderError of `speak`."""
        while not self._cancelled and (sentence := await self._sentences.get()):
            segment, text = sentence
            half = b""  # the first byte of a sample whose second byte comes with the next piece
            async with aclosing(self._speak(text)) as pieces:
                async for piece in pieces:
                    whole = half + piece if half else piece
                    half = whole[-1:] if len(whole) % SAMPLE_BYTES else b""
                    if pcm := whole[:-1] if half else whole:
                        yield AudioChunk(pcm, self._rate, segment)
            yield AudioChunk(b"", self._rate, segment, last_of_segment=True)

    async def cancel(self) -> None:
        """Speak no further sentence. Leaving `chunks` has stopped the one that was being spoken."""
        self._cancelled = True
