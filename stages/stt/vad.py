"""The worker's voice activity detection: which engine serves a session, and when that engine is loaded."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from stages.runtime.providers import Vad
from stages.stt.contract import SpeechDetector, VoiceActivityEngine
from stages.stt.loudness import LoudnessEngine
from stages.stt.silero_engine import SileroEngine, open_silero

SCRIPTED = "scripted"  # with `auto`, sessions with this recognizer need no model


class VoiceActivityDetection:
    """VAD for all sessions of a worker. The silero engine is loaded when a session first needs it, or by `warm`."""

    def __init__(self, setting: Vad, weights: Path, exits: AsyncExitStack) -> None:
        self._setting = setting
        self._weights = weights
        self._exits = exits
        self._loading = asyncio.Lock()
        self._silero: SileroEngine | None = None
        self._script = LoudnessEngine()

    async def engine(self, recognizer: str) -> VoiceActivityEngine:
        """Return the engine for sessions with the provider `recognizer`. Raises ProviderMissing."""
        if self._setting == "script" or (self._setting == "auto" and recognizer == SCRIPTED):
            return self._script
        async with self._loading:
            if self._silero is None:
                self._silero = await self._exits.enter_async_context(open_silero(self._weights))
        return self._silero

    async def open(self, recognizer: str, fail: Callable[[BaseException], None]) -> SpeechDetector:
        """Return a detector for one session, which its owner closes. Raises ProviderMissing or ProviderError."""
        return (await self.engine(recognizer)).open(fail)


@asynccontextmanager
async def open_vad(setting: Vad, weights: Path) -> AsyncIterator[VoiceActivityDetection]:
    async with AsyncExitStack() as exits:
        yield VoiceActivityDetection(setting, weights, exits)
