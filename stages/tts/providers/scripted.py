"""A voice for tests and bench: speaks its text as tones (token_codec.py), at a pace that the agent document sets."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from schemas.audio import AGENT_HZ, ms_to_bytes
from stages.runtime.providers import ProviderContext, parse_options
from stages.tts import token_codec
from stages.tts.contract import Capabilities
from stages.tts.sentence_synthesizer import SentenceSynthesizer

Milliseconds = Annotated[float, Field(ge=0, le=60_000)]


class Options(BaseModel):
    """first_ms: until the first chunk. every_ms: from each chunk to the next. duration_ms: hum this long instead."""

    model_config = ConfigDict(extra="forbid")

    first_ms: Milliseconds = 50
    chunk_ms: Annotated[float, Field(ge=1, le=60_000)] = 100
    every_ms: Milliseconds = 50
    duration_ms: Annotated[int, Field(ge=0, le=600_000)] | None = None


class ScriptedVoice:
    """The voice of one session."""

    def __init__(self, options: Options) -> None:
        self._options = options

    async def speak(self, text: str) -> AsyncGenerator[bytes, None]:
        """Yield `text` as tones, or a hum, in chunks of `chunk_ms`."""
        options = self._options
        pcm = token_codec.encode(text) if options.duration_ms is None else token_codec.hum(options.duration_ms)
        size = ms_to_bytes(options.chunk_ms, AGENT_HZ)
        wait_ms = options.first_ms
        for start in range(0, len(pcm), size):
            await asyncio.sleep(wait_ms / 1000)
            yield pcm[start : start + size]
            wait_ms = options.every_ms


class ScriptedProvider:
    """Shared by the sessions of a worker; carries any number."""

    capacity = None

    @asynccontextmanager
    async def open(self, options: Mapping[str, Any]) -> AsyncIterator[SentenceSynthesizer]:
        """Open a voice with these options. Raises ProviderError that names a wrong one."""
        voice = ScriptedVoice(parse_options(Options, options))
        yield SentenceSynthesizer(voice.speak, capabilities=Capabilities(cancel="stop"))


@asynccontextmanager
async def open_provider(context: ProviderContext) -> AsyncIterator[ScriptedProvider]:
    """Nothing to load."""
    yield ScriptedProvider()
