"""Hibari on this machine's processor: one American voice, no key, no network. English only."""

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from concurrent.futures import Executor
from contextlib import asynccontextmanager
from typing import Any, Literal

import numpy as np
from hibari import SAMPLE_RATE, Hibari
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from schemas.audio import AGENT_HZ
from stages.runtime.engine_thread import engine_thread
from stages.runtime.options import English
from stages.runtime.providers import ProviderContext, ProviderError, ProviderMissing, parse_options
from stages.tts.contract import Capabilities
from stages.tts.sentence_synthesizer import SentenceSynthesizer
from stages.tts.sentences import phrases
from stages.tts.text_normalization import normalize

CAPACITY = 8  # calls a worker: a sentence of 3 s takes 80 ms of one core, so that eight at once wait 0.6 s at worst
SEED = 0  # the noise in the voice: the same words always make the same sound
FULL_SCALE = 32767.0
SILENT = 0.002  # of full scale: below any breath of this voice
LEAD = AGENT_HZ * 20 // 1000  # samples kept of the 0.3 s of silence before each phrase: a caller waits for all of it
CAPABILITIES = Capabilities(cancel="stop", languages=("en",))

# Hibari reads "James Chen" as "James the zeroth Chen": behind a name, C is a Roman numeral to it, as I, V, X and L are.
# A word joiner between the two has no sound and no width.
_AFTER_A_NAME = re.compile(r"(?<=[a-z]) (?=[IVXLC][a-z])")
_WORD_JOINER = "\u2060"

# Hibari reads Latin, Greek and Cyrillic letters and digits. Of another script it makes nothing, or a noise of 0.3 s.
_KNOWN = re.compile("[0-9A-Za-z\u00c0-\u024f\u0370-\u04ff]")


class Options(BaseModel):
    """voice, language: those that the package holds. speed: 1 is the voice's own pace."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    voice: Literal["heart"] = "heart"
    language: English = "en"
    speed: float = Field(default=1.0, ge=0.5, le=2.0)


class LocalVoice:
    """The voice of one session. All sessions share one engine and its one thread, phrase by phrase in turn."""

    def __init__(self, engine: Hibari, thread: Executor, speed: float) -> None:
        self._engine = engine
        self._thread = thread
        self._speed = speed

    async def speak(self, text: str) -> AsyncGenerator[bytes, None]:
        """Yield audio phrase by phrase; none for a script that the voice lacks. Closed early, it begins no phrase."""
        loop = asyncio.get_running_loop()
        for phrase in phrases(Hibari.split_sentences(_readable(text))):
            if not _KNOWN.search(phrase):
                continue
            pcm = await loop.run_in_executor(self._thread, self._say, phrase)
            if pcm:
                yield pcm

    def _say(self, phrase: str) -> bytes:
        try:
            samples = self._engine(phrase, speed=self._speed, seed=SEED)
        except (RuntimeError, ValueError, IndexError, KeyError) as error:  # raised by its reading of odd text
            raise ProviderError("bad_request", f"hibari cannot read this text: {type(error).__name__}") from error
        return bytes((np.clip(_without_lead(samples), -1.0, 1.0) * FULL_SCALE).astype("<i2").tobytes())


def _readable(text: str) -> str:
    """Return `text` in the spelling that this voice reads correctly."""
    return _AFTER_A_NAME.sub(f" {_WORD_JOINER}", normalize(text))


def _without_lead(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return `samples` without the silence before the first sound; the pause after the last one stays."""
    sounding = np.flatnonzero(np.abs(samples) > SILENT)
    return samples[max(0, int(sounding[0]) - LEAD) :] if sounding.size else samples


class Local:
    """One engine and its thread, for all sessions of a worker."""

    capacity = CAPACITY

    def __init__(self, engine: Hibari, thread: Executor) -> None:
        self._engine = engine
        self._thread = thread

    @asynccontextmanager
    async def open(self, options: Mapping[str, Any]) -> AsyncIterator[SentenceSynthesizer]:
        """Open a voice with these options. Raises ProviderError that names a wrong one."""
        voice = LocalVoice(self._engine, self._thread, parse_options(Options, options).speed)
        yield SentenceSynthesizer(voice.speak, capabilities=CAPABILITIES)


@asynccontextmanager
async def open_provider(context: ProviderContext) -> AsyncIterator[Local]:
    """Load the engine in its thread, which takes 1 to 3 s."""
    with engine_thread("voice") as thread:
        yield Local(await asyncio.get_running_loop().run_in_executor(thread, _load), thread)


def _load() -> Hibari:
    """Return the engine, warm: its first sentence takes ten times as long as any other."""
    if SAMPLE_RATE != AGENT_HZ:
        raise ProviderMissing(f"this hibari synthesizes at {SAMPLE_RATE} Hz, not {AGENT_HZ}: pip install -e '.[local]'")
    engine = Hibari(threads=1)
    engine("Warming up, at 9:30, for $1.", seed=SEED)
    return engine
