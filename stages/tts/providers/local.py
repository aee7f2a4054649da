"""Hibari on this machine's processor: one American voice, no key, no network. English only."""

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator
from concurrent.futures import Executor
from contextlib import asynccontextmanager
from typing import Any, Literal

import numpy as np
from hibari import SAMPLE_RATE, Hibari
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from schemas.audio import AGENT_HZ
from stages.runtime.engine_thread import engine_thread
from stages.runtime.providers import ProviderContext, ProviderError, ProviderMissing, parse_options
from stages.tts.sentences import phrases
from stages.tts.text_normalization import normalize

CAPACITY = 8  # calls a worker: a sentence of 3 s takes 80 ms of one core, so that eight at once wait 0.6 s at worst
SEED = 0  # the noise in the voice: the same words always make the same sound
FULL_SCALE = 32767.0
SILENT = 0.002  # of full scale: below any breath of this voice
LEAD = AGENT_HZ * 20 // 1000  # of the 0.3 s of silence that it begins everything with: a caller waits for all of it

# "James Chen" would be "James the zeroth Chen": after a name it takes a capital of a Roman numeral for one. The word
# joiner between them has no sound and no width.
_AFTER_A_NAME = re.compile(r"(?<=[a-z]) (?=[IVXLC][a-z])")
_WORD_JOINER = "\u2060"


class Options(BaseModel):
    """voice: the one that the package holds. speed: 1 is the voice's own pace."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    voice: Literal["heart"] = "heart"
    speed: float = Field(default=1.0, ge=0.5, le=2.0)


class Voice:
    """The synthesizer of one call. All calls share one engine and its one thread, phrase by phrase in turn."""

    def __init__(self, engine: Hibari, thread: Executor, speed: float) -> None:
        self._engine = engine
        self._thread = thread
        self._speed = speed

    async def synthesize(self, text: str) -> AsyncGenerator[bytes, None]:
        """Audio phrase by phrase; none for a text with nothing to say. Closed early, it begins no other phrase."""
        loop = asyncio.get_running_loop()
        for phrase in phrases(Hibari.split_sentences(_readable(text))):
            pcm = await loop.run_in_executor(self._thread, self._say, phrase)
            if pcm:
                yield pcm

    def _say(self, phrase: str) -> bytes:
        try:
            samples = self._engine(phrase, speed=self._speed, seed=SEED)
        except (RuntimeError, ValueError, IndexError, KeyError) as error:  # what its reading of odd text may raise
            raise ProviderError("bad_request", f"hibari cannot say this: {type(error).__name__}") from error
        return bytes((np.clip(_promptly(samples), -1.0, 1.0) * FULL_SCALE).astype("<i2").tobytes())


def _readable(text: str) -> str:
    """Return `text` as this voice reads it right."""
    return _AFTER_A_NAME.sub(f" {_WORD_JOINER}", normalize(text))


def _promptly(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Without the silence before the first sound; the pause after the last one stays."""
    sounding = np.flatnonzero(np.abs(samples) > SILENT)
    return samples[max(0, int(sounding[0]) - LEAD) :] if sounding.size else samples


class Local:
    """The provider: one engine and its thread."""

    capacity = CAPACITY

    def __init__(self, engine: Hibari, thread: Executor) -> None:
        self._engine = engine
        self._thread = thread

    @asynccontextmanager
    async def open(self, options: dict[str, Any]) -> AsyncIterator[Voice]:
        yield Voice(self._engine, self._thread, parse_options(Options, options).speed)


@asynccontextmanager
async def open_provider(context: ProviderContext) -> AsyncIterator[Local]:
    with engine_thread("voice") as thread:
        yield Local(await asyncio.get_running_loop().run_in_executor(thread, _load), thread)


def _load() -> Hibari:
    """The engine, warm: its first sentence takes ten times as long as any other."""
    if SAMPLE_RATE != AGENT_HZ:
        raise ProviderMissing(f"this hibari speaks at {SAMPLE_RATE} Hz: pip install -e '.[local]'")
    engine = Hibari(threads=1)
    engine("Warming up, at 9:30, for $1.", seed=SEED)
    return engine
