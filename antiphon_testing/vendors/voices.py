"""The voices of the stand-ins for vendors of speech: tones that tests read back, or the local engine's real speech."""

import asyncio
import importlib
import re
from collections.abc import AsyncIterator
from concurrent.futures import Executor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from schemas.audio import AGENT_HZ, SAMPLE_BYTES, samples_to_ms
from schemas.events import Word
from stages.runtime.engine_thread import engine_thread
from stages.tts import token_codec

CHUNK_MS = 100
CHUNK_BYTES = AGENT_HZ * CHUNK_MS // 1000 * SAMPLE_BYTES
_NEAR = AGENT_HZ * 120 // 1000  # samples around an estimated border of words in which the quietest place is looked for
_CELL = AGENT_HZ * 10 // 1000
_SILENT = 300


@dataclass(frozen=True)
class Spoken:
    """Speech of one text. pcm: PCM16 mono at 24 kHz. words: those of the text, in ms from its start."""

    pcm: bytes
    words: tuple[Word, ...]

    def chunks(self) -> list[tuple[bytes, tuple[Word, ...]]]:
        """Cut the speech into chunks of 100 ms, each with the words that begin in it."""
        return [
            (
                self.pcm[start : start + CHUNK_BYTES],
                tuple(word for word in self.words if start <= _bytes(word.start_ms) < start + CHUNK_BYTES),
            )
            for start in range(0, len(self.pcm), CHUNK_BYTES)
        ]


class VendorVoice(Protocol):
    """What a stand-in speaks with."""

    async def speak(self, text: str) -> Spoken: ...


class ToneVoice:
    """Speaks each text as tones (stages/tts/token_codec.py). The words are as long as their bytes."""

    async def speak(self, text: str) -> Spoken:
        words, sounding = [], bool(re.search(r"\w", text))
        for found in re.finditer(r"\S+", text if sounding else ""):
            start, end = (len(text[:at].encode()) for at in found.span())
            words.append(Word(found[0], 20 + 40 * start, 20 + 40 * end))  # 20 ms begin a text, 40 ms are one byte
        return Spoken(token_codec.encode(text) if sounding else b"", tuple(words))


class LocalVoice:
    """Speaks with the engine of the extra `local`. Word times are estimated, and moved to the quietest place nearby."""

    def __init__(self, engine: "Engine", thread: Executor) -> None:
        self._engine = engine
        self._thread = thread

    async def speak(self, text: str) -> Spoken:
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._speak, text)

    def _speak(self, text: str) -> Spoken:
        if not re.search(r"\w", text):
            return Spoken(b"", ())
        samples = np.asarray(self._engine(text, seed=0), np.float32)
        pcm = (np.clip(samples, -1, 1) * 32_767).astype("<i2")
        return Spoken(pcm.tobytes(), _estimated(text, pcm))


class Engine(Protocol):
    """The part of Hibari that is used: text -> samples at 24 kHz between -1 and 1."""

    def __call__(self, text: str, *, seed: int) -> object: ...


@asynccontextmanager
async def local_voice() -> AsyncIterator[LocalVoice]:
    """Load the engine, which takes 1 to 3 s."""
    hibari = importlib.import_module("hibari")  # of the extra `local`, which only tests with real speech need
    with engine_thread("vendor voice") as thread:
        engine = await asyncio.get_running_loop().run_in_executor(thread, lambda: hibari.Hibari(threads=1))
        voice = LocalVoice(engine, thread)
        await voice.speak("Warming up.")  # the first sentence takes ten times as long as any other
        yield voice


def _estimated(text: str, pcm: "np.ndarray[tuple[int], np.dtype[np.int16]]") -> tuple[Word, ...]:
    words = text.split()
    sounding = np.flatnonzero(np.abs(pcm) > _SILENT)
    if not words or not sounding.size:
        return ()
    first, last = int(sounding[0]), int(sounding[-1]) + 1
    ends = np.cumsum([len(word) + 1 for word in words])
    borders = [first, *(_quietest(pcm, first + int((last - first) * end / ends[-1])) for end in ends[:-1]), last]
    times = [samples_to_ms(border, AGENT_HZ) for border in borders]
    return tuple(Word(word, times[place], max(times[place], times[place + 1])) for place, word in enumerate(words))


def _quietest(pcm: "np.ndarray[tuple[int], np.dtype[np.int16]]", at: int) -> int:
    start = max(0, at - _NEAR)
    cells = pcm[start : at + _NEAR].astype(np.float32)
    cells = np.abs(cells[: len(cells) // _CELL * _CELL].reshape(-1, _CELL)).mean(axis=1)
    return start + int(np.argmin(cells)) * _CELL + _CELL // 2 if cells.size else at


def _bytes(ms: int) -> int:
    return ms * AGENT_HZ // 1000 * SAMPLE_BYTES
