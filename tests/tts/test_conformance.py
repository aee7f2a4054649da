"""The synthesizers of this repository pass the conformance suite, and so does a vendor of contexts on one socket."""

from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import pytest

from antiphon_testing.conformance.synthesizer import SynthesizerConformance
from stages.runtime.providers import ProviderContext, ProviderError
from stages.tts import token_codec
from stages.tts.contract import Synthesizer
from stages.tts.providers import scripted
from tests.kit.context_vendor import ContextSynthesizer, ContextVendor


class TestScripted(SynthesizerConformance):
    @pytest.fixture(autouse=True)
    def _counted(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.monkeypatch, self.pieces = monkeypatch, 0
        speak = scripted.ScriptedVoice.speak

        async def counted(voice: scripted.ScriptedVoice, text: str) -> AsyncGenerator[bytes, None]:
            async for piece in speak(voice, text):
                self.pieces += 1
                yield piece

        monkeypatch.setattr(scripted.ScriptedVoice, "speak", counted)

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Synthesizer]:
        async with (
            scripted.open_provider(ProviderContext()) as provider,
            provider.open({"first_ms": 20, "every_ms": 2}) as voice,
        ):
            yield voice

    def work(self) -> int:
        return self.pieces

    @contextmanager
    def failing(self) -> Iterator[None]:
        def fail(text: str) -> bytes:
            raise ProviderError("server", "the tones are broken")

        with self.monkeypatch.context() as broken:
            broken.setattr(token_codec, "encode", fail)
            yield


class TestLocal(SynthesizerConformance):
    @pytest.fixture(autouse=True)
    def _counted(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.local = pytest.importorskip("stages.tts.providers.local", reason="pip install -e '.[local]'")
        self.phrases, self.broken = 0, False
        engine = self.local.Hibari.__call__

        def counted(hibari: Any, phrase: str, **options: Any) -> Any:
            self.phrases += 1
            if self.broken:
                raise RuntimeError(phrase)
            return engine(hibari, phrase, **options)

        monkeypatch.setattr(self.local.Hibari, "__call__", counted)

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Synthesizer]:
        async with self.local.open_provider(ProviderContext()) as provider, provider.open({}) as voice:
            yield voice

    def work(self) -> int:
        return self.phrases

    @contextmanager
    def failing(self) -> Iterator[None]:
        self.broken = True
        yield
        self.broken = False


class TestContexts(SynthesizerConformance):
    @pytest.fixture(autouse=True)
    def _vendor(self) -> None:
        self.vendor = ContextVendor()

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Synthesizer]:
        yield ContextSynthesizer(self.vendor)

    def work(self) -> int:
        return self.vendor.chunks

    @contextmanager
    def failing(self) -> Iterator[None]:
        self.vendor.broken = True
        yield
        self.vendor.broken = False
