"""The providers in docs/providers.md are whole: each is loaded from the page, and a stage or the suite uses it."""

import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest
from aiohttp import web

import stages.llm.providers
import stages.tts.providers
import stages.tts.stage
from antiphon_testing.conformance.language_model import CHECKS
from antiphon_testing.conformance.synthesizer import SynthesizerConformance
from antiphon_testing.stage import Call, worker
from schemas.events import SegmentSynthesized, SentenceReady, TtsProviderFailed, TurnStarted
from schemas.media import Flag
from schemas.provider_keys import ProviderKeys
from stages.llm.contract import LanguageModelProvider
from stages.runtime.providers import ProviderContext, Providers, names
from stages.tts.contract import Synthesizer, SynthesizerProvider

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
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


@pytest.fixture(autouse=True)
def _written_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page's code as a file where providers are looked for."""
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    voice, model = (next(block for block in blocks if name in block) for name in ("class Voice", "class Parrot"))
    for package, name, code in ((stages.tts.providers, "acme", voice), (stages.llm.providers, "acme", model)):
        folder = tmp_path / package.__name__
        folder.mkdir()
        (folder / f"{name}.py").write_text(code, encoding="utf-8")
        monkeypatch.setattr(package, "__path__", [*package.__path__, str(folder)])
    assert "acme" in names("tts")
    assert "acme" in names("llm")


@asynccontextmanager
async def voice(url: str, key: str) -> AsyncIterator[Call]:
    """A call whose agent speaks with the provider of the page, and has begun to."""
    context = ProviderContext(ProviderKeys.from_environment({"ACME_API_KEY": key, "ACME_BASE_URL": url}))
    agent = {"tts": {"provider": "acme"}}
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


async def test_the_key_does_not_go_to_a_host_that_a_document_names(url: str) -> None:
    context = ProviderContext(ProviderKeys.from_environment({"ACME_API_KEY": KEY}))
    agent = {"tts": {"provider": "acme", "options": {"base_url": url}}}
    async with worker(stages.tts.stage, context) as running, running.call(agent) as call:
        call.hear(TurnStarted(turn=2, answers=0))
        call.hear(SentenceReady(turn=2, segment=0, text="Good morning.", last=True))
        assert (await call.publishes(TtsProviderFailed)).kind == "auth"


async def test_the_language_model_conforms() -> None:
    async with Providers[LanguageModelProvider]("llm", ProviderContext()) as providers:
        parrot = await providers.get("acme")
        for check in CHECKS:
            await check(parrot, {"shouts": True})


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
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
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
        context = ProviderContext(ProviderKeys.from_environment({"ACME_API_KEY": KEY, "ACME_BASE_URL": self.url}))
        async with Providers[SynthesizerProvider]("tts", context) as providers:
            acme = await providers.get("acme")
            async with acme.open({}) as voice:
                yield voice

    def work(self) -> int:
        return self.sent

    @contextmanager
    def failing(self) -> Iterator[None]:
        self.broken = True
        yield
        self.broken = False
