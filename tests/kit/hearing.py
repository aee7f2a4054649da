"""A worker of the stt stage with a recognizer and a VAD engine that a test brings along."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, cast

from antiphon_testing.stage import Worker
from stages.runtime.providers import ProviderContext, Providers
from stages.stt.contract import Capabilities, Heard, Recognizer, RecognizerProvider, SpeechDetector, Voice
from stages.stt.contract import VoiceActivityEngine as Engine
from stages.stt.heard_queue import HeardQueue
from stages.stt.loudness import LoudnessEngine
from stages.stt.stage import Hearing, Shared, open_session
from stages.stt.vad import VoiceActivityDetection


class _Providers(Providers[RecognizerProvider]):
    def __init__(self, provider: RecognizerProvider) -> None:
        super().__init__("stt", ProviderContext())
        self._provider = provider

    async def get(self, name: str) -> RecognizerProvider:
        return self._provider


class _Vad:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def open(self, recognizer: str, fail: Callable[[BaseException], None]) -> SpeechDetector:
        return self._engine.open(fail)


class ByHand:
    """A recognizer whose outputs a test puts by hand, and its own provider."""

    capacity = None

    def __init__(self, capabilities: Capabilities | None = None) -> None:
        self.capabilities = capabilities or Capabilities()
        self.outputs = HeardQueue()
        self.forced = 0
        self.finished = False

    @asynccontextmanager
    async def open(self, options: Mapping[str, Any], voice: Voice) -> AsyncIterator[Recognizer]:
        yield self

    def feed(self, pcm: bytes, at_sample: int) -> None:
        """Hear nothing."""

    def force_end(self) -> None:
        self.forced += 1

    async def finish(self) -> None:
        self.finished = True
        self.outputs.end()

    def heard(self) -> AsyncIterator[Heard]:
        return self.outputs.heard()


def hearing(provider: RecognizerProvider, engine: Engine | None = None) -> Worker:
    """Return a worker whose sessions all get a recognizer of `provider`, and VAD of `engine` (else by loudness)."""
    vad = cast("VoiceActivityDetection", _Vad(engine or LoudnessEngine()))
    shared = Shared(_Providers(provider), vad)
    return Worker(Hearing, lambda context: open_session(context, shared), shared)
