"""The provider `cartesia`, and Cartesia's own client, against the stand-in."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import pytest

from antiphon_testing.conformance.synthesizer import SynthesizerConformance
from antiphon_testing.vendors.cartesia_server import CartesiaServer, cartesia_server
from antiphon_testing.vendors.faults import Close, Fault, Garbage, HalfFrame, Refuse
from stages.runtime.providers import ProviderContext, ProviderError, ProviderMissing
from stages.tts import token_codec
from stages.tts.contract import Synthesizer
from stages.tts.providers.cartesia import open_provider
from tests.kit.voices import SECRET, TEXT, bound_to, error_of, pcm_of, speak


@pytest.fixture
async def server() -> AsyncIterator[CartesiaServer]:
    async with cartesia_server() as running:
        yield running


@asynccontextmanager
async def voice_at(server: CartesiaServer, **options: Any) -> AsyncIterator[Synthesizer]:
    async with (
        open_provider(bound_to(server.url)) as provider,
        provider.open({"base_url": server.url, **options}) as voice,
    ):
        yield voice


class TestConformance(SynthesizerConformance):
    @pytest.fixture(autouse=True)
    async def _vendor(self) -> AsyncIterator[None]:
        async with cartesia_server() as self.server:
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


async def test_a_request_holds_the_options_and_the_key(server: CartesiaServer) -> None:
    async with voice_at(server, voice="v-1", speed=1.2, language="de-AT", pronunciations={"nine": "nyne"}) as voice:
        chunks = await speak(voice, TEXT)
    assert token_codec.decode(pcm_of(chunks)) == "We open at nyne."
    [words] = [[word for chunk in chunks for word in chunk.words]]
    assert [word.text for word in words] == TEXT.split()
    asked = server.asked[0]
    assert asked["voice"] == {"mode": "id", "id": "v-1"}
    assert (asked["language"], asked["generation_config"]) == ("de", {"speed": 1.2})
    assert asked["output_format"] == {"container": "raw", "encoding": "pcm_s16le", "sample_rate": 24_000}
    assert server.headers[0]["Authorization"] == f"Bearer {SECRET}"


async def test_the_words_keep_the_spelling_of_the_sentence(server: CartesiaServer) -> None:
    async with voice_at(server) as voice:
        chunks = await speak(voice, "It costs 50 % of that, Ms. Nguyen.")
    words = [word for chunk in chunks for word in chunk.words]
    assert [word.text for word in words] == ["It", "costs", "50", "of", "that,", "Ms.", "Nguyen."]


async def test_sentences_of_a_turn_share_a_context_and_turns_share_the_socket(server: CartesiaServer) -> None:
    async with voice_at(server) as voice:
        await speak(voice, TEXT, "On Sunday we are closed.")
        await speak(voice, TEXT)
    assert len({asked["context_id"] for asked in server.asked}) == 2
    assert server.connected == 1
    assert [asked["continue"] for asked in server.asked].count(False) == 2


@pytest.mark.parametrize(
    ("fault", "kind", "retryable"),
    [
        (Refuse(402, code="quota_exceeded", message=TEXT), "quota", False),
        (Refuse(429), "quota", True),
        (Refuse(500, message=SECRET), "server", True),
        (Close(after=2, code=1000), "connection", True),
        (Close(after=2, code=1005), "connection", True),
        (Close(after=2, code=1011), "connection", True),
        (Close(after=2), "connection", True),
        (HalfFrame(after=2), "connection", True),
        (Garbage(after=2), "server", True),
    ],
)
async def test_each_fault_is_one_error_and_the_next_turn_is_spoken(
    server: CartesiaServer, fault: Fault, kind: str, retryable: bool
) -> None:
    async with voice_at(server) as voice:
        server.faults.standing = fault
        error = await error_of(voice, "We open at nine, and on Sunday we are closed.")
        assert (error.kind, error.retryable) == (kind, retryable)
        server.faults.standing = None
        assert token_codec.decode(pcm_of(await speak(voice, TEXT))) == TEXT


@pytest.mark.parametrize(("status", "kind"), [(401, "auth"), (429, "quota"), (500, "server")])
async def test_a_refused_handshake_is_named(server: CartesiaServer, status: int, kind: str) -> None:
    server.handshakes.standing = Refuse(status, retry_after_s=7)
    async with voice_at(server) as voice:
        error = await error_of(voice, TEXT)
        assert (error.kind, error.retry_after_s) == (kind, None if kind == "auth" else 7)


async def test_a_socket_that_the_vendor_closed_in_a_pause_is_replaced_unheard(server: CartesiaServer) -> None:
    async with voice_at(server) as voice:
        for connected in (1, 2, 3):
            assert token_codec.decode(pcm_of(await speak(voice, TEXT))) == TEXT
            assert server.connected == connected
            await server.drop_all()


async def test_a_turn_that_is_not_read_holds_up_no_other(server: CartesiaServer) -> None:
    async with voice_at(server) as one:
        turn = one.open_turn()
        turn.push(0, TEXT)
        chunks = turn.chunks()
        await anext(chunks)
        assert token_codec.decode(pcm_of(await speak(one, "Goodbye."))) == "Goodbye."
        await chunks.aclose()
        await turn.cancel()
    assert server.connected == 1


async def test_a_missing_key_is_named() -> None:
    async with open_provider(ProviderContext()) as provider:
        with pytest.raises(ProviderError, match="option speed"):
            async with provider.open({"speed": 9}):
                pass
        with pytest.raises(ProviderMissing, match="CARTESIA_API_KEY"):
            async with provider.open({}):
                pass


async def test_connects_cancels_and_drops_leave_no_task_and_no_socket(server: CartesiaServer) -> None:
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


async def test_cartesias_own_client_reads_the_stand_in(server: CartesiaServer) -> None:
    cartesia = pytest.importorskip("cartesia", reason="pip install 'cartesia[websockets]'")
    client = cartesia.AsyncCartesia(
        api_key=SECRET, base_url=server.url, websocket_base_url=server.url.replace("http", "ws"), max_retries=0
    )
    async with client, client.tts.websocket_connect() as connection:
        context = connection.context(
            model_id="sonic-3",
            voice="v-1",
            output_format={"container": "raw", "encoding": "pcm_s16le", "sample_rate": 24_000},
            add_timestamps=True,
            timeout=30,
        )
        await context.push(TEXT)
        await context.push("", flush=True)
        await context.no_more_inputs()
        came = [event async for event in context.receive()]
    audio = b"".join(event.audio or b"" for event in came if event.type == "chunk")
    assert token_codec.decode(audio) == TEXT
    assert [event.type for event in came if event.type in ("flush_done", "done")] == ["flush_done", "done"]
    words = [
        word
        for event in came
        if event.type == "timestamps" and event.word_timestamps
        for word in event.word_timestamps.words
    ]
    assert words == TEXT.split()
