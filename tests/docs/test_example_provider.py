"""The provider that docs/providers.md shows is a whole one: it is loaded from the page, and a stage speaks with it."""

import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest
from aiohttp import web
from pydantic import SecretStr

import stages.tts.providers
import stages.tts.stage
from antiphon_testing.conformance.synthesizer import SynthesizerConformance
from schemas.events import SegmentSynthesized, SentenceReady, TtsProviderFailed, TurnStarted
from schemas.media import Flag
from stages.runtime.providers import ProviderContext, Providers, names
from stages.tts.contract import Synthesizer, SynthesizerProvider
from tests.kit.stage import Call, worker

PAGE = Path(__file__).parents[2] / "docs" / "providers.md"
KEY = "sesame"
SOUND = bytes(range(250)) * 40  # 10,000 bytes: 208 ms


async def speak(request: web.Request) -> web.StreamResponse:
    """The vendor: sound for whoever has the key, in pieces that cut samples in two."""
    if request.headers.get("Authorization") != f"Bearer {KEY}":
        return web.Response(status=401)
    asked = await request.json()
    assert asked == {"text": "Good morning.", "voice": "anna", "format": "pcm_24000"}
    answer = web.StreamResponse()
    await answer.prepare(request)
    for start in range(0, len(SOUND), 999):
        await answer.write(SOUND[start : start + 999])
    return answer


@pytest.fixture
async def url() -> AsyncIterator[str]:
    application = web.Application()
    application.router.add_post("/speak", speak)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}/speak"
    await runner.cleanup()


@pytest.fixture(autouse=True)
def _written_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page's code as a file where providers are looked for."""
    found = re.search(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert found is not None
    (tmp_path / "acme.py").write_text(found[1], encoding="utf-8")
    monkeypatch.setattr(stages.tts.providers, "__path__", [*stages.tts.providers.__path__, str(tmp_path)])
    assert "acme" in names("tts")


@asynccontextmanager
async def voice(url: str, key: str) -> AsyncIterator[Call]:
    """A call whose agent speaks with the provider of the page, and has begun to."""
    context = ProviderContext(keys={"ACME_API_KEY": SecretStr(key)})
    agent = {"tts": {"provider": "acme", "options": {"url": url}}}
    async with worker(stages.tts.stage, context) as running, running.call(agent) as call:
        call.hear(TurnStarted(turn=2, answers=0))
        call.hear(SentenceReady(turn=2, segment=0, text="Good morning.", last=True))
        yield call


async def test_it_speaks_every_sample_that_the_vendor_made(url: str) -> None:
    async with voice(url, KEY) as call:
        spoken = await call.publishes(SegmentSynthesized)
        assert call.audio(turn=2) == SOUND
        assert spoken.duration_ms == 208


async def test_a_wrong_key_ends_the_turn_and_says_why(url: str) -> None:
    async with voice(url, "wrong") as call:
        failed = await call.publishes(TtsProviderFailed)
        assert (failed.provider, failed.kind, failed.retryable) == ("acme", "auth", False)
        assert "ACME_API_KEY" in failed.message
        await call.sends(Flag.LAST_OF_TURN)  # so that egress does not wait for more


class TestConformance(SynthesizerConformance):
    """The page's provider against a vendor that makes half a second of sound for each letter."""

    @pytest.fixture(autouse=True)
    async def _vendor(self) -> AsyncIterator[None]:
        self.sent, self.broken = 0, False
        application = web.Application()
        application.router.add_post("/speak", self._speak)
        runner = web.AppRunner(application)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}/speak"
        yield
        await runner.cleanup()

    async def _speak(self, request: web.Request) -> web.StreamResponse:
        if self.broken:
            return web.Response(status=500)
        answer = web.StreamResponse()
        await answer.prepare(request)
        for _ in (await request.json())["text"]:
            await answer.write(bytes(range(240)) * 100)
            self.sent += 1
        return answer

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Synthesizer]:
        context = ProviderContext(keys={"ACME_API_KEY": SecretStr(KEY)})
        async with Providers("tts", context) as providers:
            acme: SynthesizerProvider = await providers.get("acme")
            async with acme.open({"url": self.url}) as voice:
                yield voice

    def work(self) -> int:
        return self.sent

    @contextmanager
    def failing(self) -> Iterator[None]:
        self.broken = True
        yield
        self.broken = False
