"""The provider `elevenlabs` against the stand-in."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import pytest

from antiphon_testing.conformance.synthesizer import SynthesizerConformance
from antiphon_testing.vendors.elevenlabs_server import ElevenLabsServer, elevenlabs_server
from antiphon_testing.vendors.faults import Close, Fault, Garbage, HalfFrame, Refuse
from stages.runtime.providers import ProviderContext, ProviderError, ProviderMissing
from stages.tts import token_codec
from stages.tts.contract import Synthesizer
from stages.tts.providers.elevenlabs import open_provider
from tests.kit.voices import SECRET, TEXT, bound_to, error_of, pcm_of, speak


@pytest.fixture
async def server() -> AsyncIterator[ElevenLabsServer]:
    async with elevenlabs_server() as running:
        yield running


@asynccontextmanager
async def voice_at(server: ElevenLabsServer, **options: Any) -> AsyncIterator[Synthesizer]:
    async with (
        open_provider(bound_to(server.url)) as provider,
        provider.open({"base_url": server.url, **options}) as voice,
    ):
        yield voice


class TestConformance(SynthesizerConformance):
    @pytest.fixture(autouse=True)
    async def _vendor(self) -> AsyncIterator[None]:
        async with elevenlabs_server() as self.server:
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


async def test_a_request_holds_the_options_and_the_key(server: ElevenLabsServer) -> None:
    async with voice_at(server, voice="v-1", speed=1.2, language="de-AT", pronunciations={"nine": "nyne"}) as voice:
        chunks = await speak(voice, TEXT)
    assert token_codec.decode(pcm_of(chunks)) == "We open at nyne."
    assert [word.text for chunk in chunks for word in chunk.words] == TEXT.split()
    assert server.paths == ["/v1/text-to-speech/v-1/multi-stream-input"]
    assert server.queries[0]["output_format"] == "pcm_24000"
    assert server.queries[0]["language_code"] == "de"
    assert server.asked[0]["voice_settings"] == {"speed": 1.2}
    assert server.keys == [SECRET]


async def test_four_turns_at_once_share_two_sockets_within_the_vendors_limit(server: ElevenLabsServer) -> None:
    async with voice_at(server) as voice:
        texts = [f"Room {number} is free. So is the next one." for number in ("one", "two", "three", "four")]
        spoken = await asyncio.gather(*(speak(voice, *text.split(". ")) for text in texts))
    assert [" ".join(token_codec.texts(pcm_of(chunks) + pcm_of(chunks, 1))) for chunks in spoken] == [
        text.replace(". ", " ") for text in texts
    ]
    assert len(server.keys) == 2


@pytest.mark.parametrize(
    ("fault", "kind", "retryable"),
    [
        (Refuse(0, code="quota_exceeded", message=TEXT), "quota", False),
        (Refuse(0, code="max_active_conversations"), "quota", True),
        (Refuse(0, code="internal", message=SECRET), "server", True),
        (Close(after=2, code=1000), "connection", True),
        (Close(after=2, code=1005), "connection", True),
        (Close(after=2, code=1011), "connection", True),
        (Close(after=2), "connection", True),
        (HalfFrame(after=2), "connection", True),
        (Garbage(after=2), "server", True),
    ],
)
async def test_each_fault_is_one_error_and_the_next_turn_is_spoken(
    server: ElevenLabsServer, fault: Fault, kind: str, retryable: bool
) -> None:
    async with voice_at(server) as voice:
        server.faults.standing = fault
        error = await error_of(voice, "We open at nine, and on Sunday we are closed.")
        assert (error.kind, error.retryable) == (kind, retryable)
        server.faults.standing = None
        assert token_codec.decode(pcm_of(await speak(voice, TEXT))) == TEXT


@pytest.mark.parametrize(("status", "kind"), [(401, "auth"), (429, "quota"), (500, "server")])
async def test_a_refused_handshake_is_named(server: ElevenLabsServer, status: int, kind: str) -> None:
    server.handshakes.standing = Refuse(status, retry_after_s=7)
    async with voice_at(server) as voice:
        error = await error_of(voice, TEXT)
        assert (error.kind, error.retry_after_s) == (kind, None if kind == "auth" else 7)


async def test_a_socket_that_the_vendor_closed_in_a_pause_is_replaced_unheard(server: ElevenLabsServer) -> None:
    async with voice_at(server) as voice:
        for connected in (1, 2, 3):
            assert token_codec.decode(pcm_of(await speak(voice, TEXT))) == TEXT
            assert len(server.keys) == connected
            await server.drop_all()


async def test_a_turn_that_is_not_read_holds_up_no_other(server: ElevenLabsServer) -> None:
    async with voice_at(server) as one:
        turn = one.open_turn()
        turn.push(0, TEXT)
        chunks = turn.chunks()
        await anext(chunks)
        assert token_codec.decode(pcm_of(await speak(one, "Goodbye."))) == "Goodbye."
        await chunks.aclose()
        await turn.cancel()
    assert len(server.keys) == 1


async def test_a_missing_key_is_named() -> None:
    async with open_provider(ProviderContext()) as provider:
        with pytest.raises(ProviderError, match="option speed"):
            async with provider.open({"speed": 9}):
                pass
        with pytest.raises(ProviderMissing, match="ELEVENLABS_API_KEY"):
            async with provider.open({}):
                pass


async def test_connects_cancels_and_drops_leave_no_task_and_no_socket(server: ElevenLabsServer) -> None:
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
