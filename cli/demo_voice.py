"""The voice of the demo's caller: the local voice, lowered, so that caller and agent sound different."""

import asyncio
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

PITCH = 0.84  # of the agent's voice: three semitones lower; the recognizer still understands every word
VERSION = 2  # of the sound: a new number makes the stored recordings again


async def speak(questions: Sequence[str], folder: Path) -> list[Path]:
    """Return a WAV file, PCM16 mono at 16 kHz, for each question; those that `folder` holds are not made again."""
    paths = [folder / f"{_name(question)}.wav" for question in questions]
    missing = [(question, path) for question, path in zip(questions, paths, strict=True) if not path.exists()]
    if missing:
        from stages.runtime.providers import ProviderContext
        from stages.tts.contract import speak_text
        from stages.tts.providers.local import open_provider

        # Lowering the voice slows it down, so the synthesizer speaks faster by the same factor.
        async with (
            open_provider(ProviderContext()) as provider,
            provider.open({"speed": 1 / PITCH}) as voice,
        ):
            for question, path in missing:
                pcm = b"".join([chunk.pcm async for chunk in speak_text(voice, question)])
                await asyncio.to_thread(_write, path, pcm)
    return paths


def _name(question: str) -> str:
    return hashlib.sha256(f"{VERSION} {PITCH} {question}".encode()).hexdigest()[:16]


def _write(path: Path, pcm: bytes) -> None:
    import soundfile

    from schemas.audio import CALLER_HZ

    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".part")
    soundfile.write(partial, lower(pcm), CALLER_HZ, subtype="PCM_16", format="WAV")
    partial.replace(path)


def lower(pcm: bytes) -> Any:
    """Return PCM16 at 24 kHz as float samples at 16 kHz, played at `PITCH` of its speed."""
    import numpy
    import soxr

    from schemas.audio import AGENT_HZ, CALLER_HZ

    samples = numpy.frombuffer(pcm, "<i2").astype(numpy.float32) / 32768
    return soxr.resample(samples, AGENT_HZ * PITCH, CALLER_HZ)
