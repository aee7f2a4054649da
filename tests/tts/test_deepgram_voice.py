"""The provider `deepgram` of tts, and Deepgram's own client, against the stand-in."""

import asyncio
import importlib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import pytest

from antiphon_testing.conformance.synthesizer import SynthesizerConformance
from antiphon_testing.vendors.deepgram_speak_server import DeepgramSpeakServer, deepgram_speak_server
from antiphon_testing.vendors.faults import Close, Fault, HalfFrame, Refuse
from stages.runtime.providers import ProviderContext, ProviderError, ProviderMissing
from stages.tts import token_codec
from stages.tts.contract import Synthesizer
from stages.tts.providers.deepgram import open_provider
from tests.kit.voices import SECRET, TEXT, bound_to, error_of, pcm_of, speak


@pytest.fixture
async def server() -> AsyncIterator[DeepgramSpeakServer]:
    async with deepgram_speak_server() as running:
        yield running


@asynccontextmanager
async def voice_at(server: DeepgramSpeakServer, **options: Any) -> AsyncIterator[Synthesizer]:
    async with (
        open_provider(bound_to(server.url)) as provider,
        provider.open({"base_url": server.url, **options}) as voice,
    ):
        yield voice


class TestConformance(SynthesizerConformance):
    @pytest.fixture(autouse=True)
    async def _vendor(self) -> AsyncIterator[None]:
        async with deepgram_speak_server() as self.server:
            yield

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Synthesizer]:
        async with voice_at(self.server) as voice:
            yield voice

    def work(self) -> int:
        return self.server.sent

    @contextmanager
    def failing(self) -> Iterator[None]:
        self.server.faults.standing = Refuse(500, message="We open at nine.")
        yield
        self.server.faults.standing = None


class TestFlux(SynthesizerConformance):
    @pytest.fixture(autouse=True)
    async def _vendor(self) -> AsyncIterator[None]:
        async with deepgram_speak_server() as self.server:
            yield

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Synthesizer]:
        async with voice_at(self.server, model="flux") as voice:
            yield voice

    def work(self) -> int:
        return self.server.sent

    @contextmanager
    def failing(self) -> Iterator[None]:
        self.server.faults.standing = Refuse(500, message="We open at nine.")
        yield
        self.server.faults.standing = None


@pytest.mark.parametrize(
    ("options", "model"),
    [
        ({"language": "es-MX", "voice": "celeste"}, "aura-2-celeste-es"),
        ({"model": "aura-2-thalia-en"}, "aura-2-thalia-en"),
        ({"model": "flux", "voice": "haley"}, "flux-haley-en"),
    ],
)
async def test_the_model_names_voice_and_language(
    server: DeepgramSpeakServer, options: dict[str, Any], model: str
) -> None:
    async with voice_at(server, **options, speed=1.2, pronunciations={"nine": "nyne"}) as voice:
        assert token_codec.decode(pcm_of(await speak(voice, TEXT))) == "We open at nyne."
    assert server.asked[0] == {"model": model, "encoding": "linear16", "sample_rate": "24000", "speed": "1.2"}
    assert server.keys[0] == f"Token {SECRET}"


async def test_more_sentences_than_the_vendor_flushes_on_one_socket_are_spoken(server: DeepgramSpeakServer) -> None:
    texts = [f"Room {number}." for number in range(2, 47)]
    async with voice_at(server) as voice:
        chunks = await speak(voice, *texts)
    assert token_codec.texts(b"".join(chunk.pcm for chunk in chunks)) == texts
    assert len(server.asked) == 3


async def test_a_finished_turn_leaves_its_socket_to_the_next_one_and_a_cancelled_turn_closes_it(
    server: DeepgramSpeakServer,
) -> None:
    async with voice_at(server) as voice:
        await speak(voice, TEXT)
        await speak(voice, TEXT)
        assert len(server.asked) == 1
        turn = voice.open_turn()
        turn.push(0, TEXT)
        chunks = turn.chunks()
        await anext(chunks)
        await chunks.aclose()
        await turn.cancel()
        assert token_codec.decode(pcm_of(await speak(voice, "Goodbye."))) == "Goodbye."
        assert len(server.asked) == 2


@pytest.mark.parametrize(
    ("fault", "kind", "retryable"),
    [
        (Refuse(402, message=TEXT), "quota", False),
        (Refuse(429), "quota", True),
        (Refuse(500, message=SECRET), "server", True),
        (Close(after=2, code=1000), "connection", True),
        (Close(after=2, code=1005), "connection", True),
        (Close(after=2, code=1011), "connection", True),
        (Close(after=2), "connection", True),
        (HalfFrame(after=2), "connection", True),
    ],
)
async def test_each_fault_is_one_error_and_the_next_turn_is_spoken(
    server: DeepgramSpeakServer, fault: Fault, kind: str, retryable: bool
) -> None:
    async with voice_at(server) as voice:
        await speak(voice, TEXT)
        await server.drop_all()
        server.faults.standing = fault
        error = await error_of(voice, "We open at nine, and on Sunday we are closed.")
        assert (error.kind, error.retryable) == (kind, retryable)
        server.faults.standing = None
        assert token_codec.decode(pcm_of(await speak(voice, TEXT))) == TEXT


@pytest.mark.parametrize(("status", "kind"), [(401, "auth"), (429, "quota"), (500, "server")])
async def test_a_refused_handshake_is_named(server: DeepgramSpeakServer, status: int, kind: str) -> None:
    server.faults.standing = Refuse(status, retry_after_s=7)
    async with voice_at(server) as voice:
        error = await error_of(voice, TEXT)
        assert (error.kind, error.retry_after_s) == (kind, None if kind == "auth" else 7)


async def test_a_socket_that_the_vendor_closed_in_a_pause_is_replaced_unheard(server: DeepgramSpeakServer) -> None:
    async with voice_at(server) as voice:
        for connected in (1, 2, 3):
            assert token_codec.decode(pcm_of(await speak(voice, TEXT))) == TEXT
            assert len(server.asked) == connected
            await server.drop_all()


async def test_a_missing_key_is_named() -> None:
    async with open_provider(ProviderContext()) as provider:
        with pytest.raises(ProviderError, match="option speed"):
            async with provider.open({"speed": 9}):
                pass
        with pytest.raises(ProviderMissing, match="DEEPGRAM_API_KEY"):
            async with provider.open({}):
                pass


async def test_connects_cancels_and_drops_leave_no_task_and_no_socket(server: DeepgramSpeakServer) -> None:
    before = asyncio.all_tasks()
    async with open_provider(bound_to(server.url)) as provider:
        for number in range(50):
            async with provider.open({"base_url": server.url}) as voice:
                turn = voice.open_turn()
                turn.push(0, TEXT)
                chunks = turn.chunks()
                if number % 3:
                    await anext(chunks)
                if number % 3 == 1:
                    await server.drop_all()
                await chunks.aclose()
                await turn.cancel()
    async with asyncio.timeout(30):
        while server.sockets or asyncio.all_tasks() - before:
            await asyncio.sleep(0.02)


@pytest.mark.filterwarnings("ignore:websockets:DeprecationWarning")  # the SDK asks for its old names
async def test_deepgrams_own_client_reads_the_stand_in(server: DeepgramSpeakServer) -> None:
    deepgram = pytest.importorskip("deepgram", reason="pip install deepgram-sdk")
    environment = importlib.import_module("deepgram.environment").DeepgramClientEnvironment(
        base=server.url,
        production=server.url.replace("http", "ws"),
        agent=server.url.replace("http", "ws"),
        agent_rest=server.url,
    )
    text = importlib.import_module("deepgram.speak.v1.types").SpeakV1Text
    client = deepgram.AsyncDeepgramClient(api_key=SECRET, environment=environment)
    async with client.speak.v1.connect(model="aura-2-thalia-en", encoding="linear16", sample_rate=24000) as socket:
        await socket.send_text(text(text=TEXT))
        await socket.send_flush()
        audio = b""
        async with asyncio.timeout(30):
            while isinstance(message := await socket.recv(), bytes):
                audio += message
    assert (token_codec.decode(audio), message.type) == (TEXT, "Flushed")
