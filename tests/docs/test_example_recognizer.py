"""The recognizer that docs/providers.md shows: it is loaded from the page, conforms, and a stage hears with it."""

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import WSMsgType, web

import stages.stt.providers
import stages.stt.stage
from antiphon_testing.conformance.recognizer import RecognizerConformance, Subject
from antiphon_testing.speech import silence
from antiphon_testing.stage import worker
from schemas.audio import CALLER_HZ, SAMPLE_BYTES
from schemas.events import TranscriptFinal
from schemas.provider_keys import ProviderKeys
from stages.runtime.providers import ProviderContext, ProviderError, Providers, names
from stages.stt.contract import RecognizerProvider
from stages.stt.loudness import loud

PAGE = Path(__file__).parents[2] / "docs" / "providers.md"
KEY = "sesame"
SOUND = (3_000).to_bytes(2, "little") * CALLER_HZ
SPEECH = silence(0.3) + SOUND + silence(0.6)


class Vendor:
    """Acme: writes one word for each stretch of sound, and makes it final when it is asked or the client closes."""

    def __init__(self) -> None:
        self.url = ""
        self._sockets: list[web.WebSocketResponse] = []
        self._hung_up: set[asyncio.Task[bool]] = set()

    def hang_up(self) -> None:
        self._hung_up = {asyncio.ensure_future(socket.close()) for socket in self._sockets}

    async def listen(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("Authorization") != f"Bearer {KEY}":
            return web.Response(status=401)
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        self._sockets.append(socket)
        received, begun, settled = 0, -1, 0
        async for message in socket:
            if message.type == WSMsgType.BINARY:
                if loud(message.data) and begun < 0:
                    begun = received
                    await self._say(socket, "interim", "hel", begun, received + 1)
                received += len(message.data) // SAMPLE_BYTES
            else:
                if begun >= 0 or message.json()["type"] == "finalize":
                    word = "hello" if begun >= 0 else ""
                    await self._say(socket, "final", word, max(begun, settled), received)
                    begun, settled = -1, received
                if message.json()["type"] == "close":
                    await socket.send_json({"type": "closed"})
        return socket

    async def _say(self, socket: web.WebSocketResponse, kind: str, text: str, start: int, end: int) -> None:
        await socket.send_json({"type": kind, "text": text, "start_s": start / CALLER_HZ, "end_s": end / CALLER_HZ})


@pytest.fixture
async def vendor() -> AsyncIterator[Vendor]:
    one = Vendor()
    application = web.Application()
    application.router.add_get("/listen", one.listen)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    one.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield one
    await runner.cleanup()


@pytest.fixture(autouse=True)
def _written_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page's code as a file in the folder of the recognizers."""
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    code = next(block for block in blocks if "class Recognizer" in block)
    (tmp_path / "acme.py").write_text(code, encoding="utf-8")
    monkeypatch.setattr(stages.stt.providers, "__path__", [*stages.stt.providers.__path__, str(tmp_path)])
    assert "acme" in names("stt")


def context(vendor: Vendor, key: str = KEY) -> ProviderContext:
    keys = ProviderKeys.from_environment({"ACME_API_KEY": key, "ACME_BASE_URL": vendor.url})
    return ProviderContext(keys, vad="script")


class TestAcme(RecognizerConformance):
    @pytest.fixture
    async def subject(self, vendor: Vendor) -> AsyncIterator[Subject]:
        async with Providers[RecognizerProvider]("stt", context(vendor)) as providers:
            provider = await providers.get("acme")
            yield Subject(provider, {}, SPEECH, fail=vendor.hang_up, haste=10)


async def test_a_stage_hears_with_it(vendor: Vendor) -> None:
    agent = {"stt": {"provider": "acme", "options": {}}}
    async with worker(stages.stt.stage, context(vendor)) as running, running.call(agent) as call:
        for number in range(len(SPEECH) // 640):
            call.hear_audio(SPEECH[number * 640 : number * 640 + 640], at=number * 320)
        final = await call.publishes(TranscriptFinal)
    assert (final.text, final.provider, final.part, final.last) == ("hello", "acme", 0, True)
    assert (final.start_sample, final.audio_ms) == (int(0.3 * CALLER_HZ), 1_000)


async def test_a_wrong_key_says_which_variable_to_look_at(vendor: Vendor) -> None:
    agent = {"stt": {"provider": "acme", "options": {}}}
    async with worker(stages.stt.stage, context(vendor, "wrong")) as running:
        with pytest.raises(ProviderError, match="ACME_API_KEY") as raised:
            await running.call(agent).__aenter__()
    assert raised.value.kind == "auth"
