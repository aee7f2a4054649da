"""What the tests of voices behind a key share: the context of a worker, a turn, its error."""

import asyncio
from contextlib import aclosing

import pytest

from schemas.provider_keys import PrivateHosts, ProviderKeys
from stages.runtime.providers import ProviderContext, ProviderError
from stages.tts.contract import AudioChunk, Synthesizer

SECRET = "sk-CANARY"
TEXT = "We open at nine."
WITHIN_S = 60.0


def bound_to(url: str) -> ProviderContext:
    """Return the context of a worker whose operator bound a key to the host of `url`."""
    environment = {"MY_API_KEY": SECRET, "ANTIPHON_KEY_HOSTS": f"MY_API_KEY={url}"}
    return ProviderContext(ProviderKeys.from_environment(environment), PrivateHosts())


async def speak(voice: Synthesizer, *texts: str) -> list[AudioChunk]:
    """Speak a turn to its end."""
    turn = voice.open_turn()
    for segment, text in enumerate(texts):
        turn.push(segment, text)
    turn.end()
    try:
        async with aclosing(turn.chunks()) as chunks, asyncio.timeout(WITHIN_S):
            return [chunk async for chunk in chunks]
    finally:
        await turn.cancel()


async def error_of(voice: Synthesizer, *texts: str) -> ProviderError:
    """Speak a turn that fails."""
    with pytest.raises(ProviderError) as raised:
        await speak(voice, *texts)
    assert SECRET not in str(raised.value)
    assert not any(text in str(raised.value) for text in texts)
    return raised.value


def pcm_of(chunks: list[AudioChunk], segment: int = 0) -> bytes:
    """Return the audio of one segment."""
    return b"".join(chunk.pcm for chunk in chunks if chunk.segment == segment)
