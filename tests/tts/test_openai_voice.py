"""The provider `openai` of tts, and OpenAI's own client, against the stand-in."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import pytest

from antiphon_testing.conformance.synthesizer import SynthesizerConformance
from antiphon_testing.vendors.faults import Close, Drop, Fault, HalfFrame, Refuse, SlowStart, Stall, Wrong
from antiphon_testing.vendors.openai_speech_server import OpenAISpeechServer, openai_speech_server
from stages.runtime.providers import ProviderContext, ProviderError, ProviderMissing
from stages.tts import token_codec
from stages.tts.contract import Synthesizer
from stages.tts.providers.openai import open_provider
from tests.kit.voices import SECRET, TEXT, bound_to, error_of, pcm_of, speak


@pytest.fixture
async def server() -> AsyncIterator[OpenAISpeechServer]:
    async with openai_speech_server() as running:
        yield running


@asynccontextmanager
async def voice_at(server: OpenAISpeechServer, **options: Any) -> AsyncIterator[Synthesizer]:
    async with (
        open_provider(bound_to(server.url)) as provider,
        provider.open({"base_url": server.url, **options}) as voice,
    ):
        yield voice


class TestConformance(SynthesizerConformance):
    @pytest.fixture(autouse=True)
    async def _vendor(self) -> AsyncIterator[None]:
        async with openai_speech_server() as self.server:
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


async def test_a_request_holds_the_options_and_the_key(server: OpenAISpeechServer) -> None:
    options = {
        "model": "m-1",
        "voice": "v-1",
        "speed": 1.2,
        "instructions": "Softly.",
        "pronunciations": {"nine": "nyne"},
    }
    async with voice_at(server, **options) as voice:
        chunks = await speak(voice, TEXT)
    assert token_codec.decode(pcm_of(chunks)) == "We open at nyne."
    assert server.asked == [
        {
            "model": "m-1",
            "voice": "v-1",
            "input": "We open at nyne.",
            "response_format": "pcm",
            "speed": 1.2,
            "instructions": "Softly.",
        }
    ]
    assert server.keys == [f"Bearer {SECRET}"]


async def test_only_english_gets_words_for_signs(server: OpenAISpeechServer) -> None:
    for language, spoken in (("en-GB", "7 percent"), ("de", "7 %"), ("multi", "7 %")):
        async with voice_at(server, language=language) as voice:
            await speak(voice, "7 %")
            assert voice.capabilities.languages == (() if language == "multi" else (language,))
        assert server.asked[-1]["input"] == spoken


@pytest.mark.parametrize(
    ("fault", "kind", "retryable"),
    [
        (Refuse(401, message=SECRET), "auth", False),
        (Refuse(429, retry_after_s=7), "quota", True),
        (Refuse(404, code="model_not_found"), "bad_request", False),
        (Refuse(500, message=TEXT), "server", True),
        (Refuse(307, headers=(("Location", "http://127.0.0.1:9/"),)), "bad_request", False),
        (Drop(), "connection", True),
        (SlowStart(30), "timeout", True),
        (Stall(after=2), "timeout", True),
        (Close(after=2), "connection", True),
        (Close(after=2, code=1000), "server", True),
        (HalfFrame(after=2), "connection", True),
        (Wrong("rate"), "server", False),
    ],
)
async def test_each_fault_is_one_error_and_the_next_turn_is_spoken(
    server: OpenAISpeechServer, fault: Fault, kind: str, retryable: bool
) -> None:
    async with voice_at(server, timeout=1.0) as voice:
        server.faults.standing = fault
        error = await error_of(voice, "We open at nine, and on Sunday we are closed.")
        assert (error.kind, error.retryable) == (kind, retryable)
        if isinstance(fault, Refuse) and fault.retry_after_s:
            assert error.retry_after_s == fault.retry_after_s
        server.faults.standing = None
        assert token_codec.decode(pcm_of(await speak(voice, TEXT))) == TEXT


async def test_a_long_sentence_is_asked_for_piece_by_piece(server: OpenAISpeechServer) -> None:
    text = "Room two has a view of the harbor, room three has one of the hills. " * 20
    async with voice_at(server) as voice:
        chunks = await speak(voice, text)
    assert " ".join(token_codec.texts(pcm_of(chunks))) == text.strip()
    assert all(len(asked["input"]) <= 240 for asked in server.asked)


async def test_a_wrong_option_or_a_missing_key_is_named() -> None:
    async with open_provider(ProviderContext()) as provider:
        with pytest.raises(ProviderError, match="option speed"):
            async with provider.open({"speed": 9}):
                pass
        with pytest.raises(ProviderMissing, match="OPENAI_API_KEY"):
            async with provider.open({}):
                pass


async def test_connects_and_drops_leave_no_task_and_no_connection(server: OpenAISpeechServer) -> None:
    before = asyncio.all_tasks()
    async with voice_at(server) as voice:
        for _ in range(50):
            turn = voice.open_turn()
            turn.push(0, TEXT)
            chunks = turn.chunks()
            await anext(chunks)
            await chunks.aclose()
            await turn.cancel()
    await asyncio.sleep(0.2)  # the server notices the closed connections
    assert asyncio.all_tasks() <= before


async def test_openais_own_client_reads_the_stand_in(server: OpenAISpeechServer) -> None:
    openai = pytest.importorskip("openai", reason="pip install openai")
    async with (
        openai.AsyncOpenAI(api_key=SECRET, base_url=server.url, max_retries=0) as client,
        client.audio.speech.with_streaming_response.create(
            model="gpt-4o-mini-tts", voice="alloy", input=TEXT, response_format="pcm"
        ) as answer,
    ):
        assert token_codec.decode(b"".join([piece async for piece in answer.iter_bytes()])) == TEXT
    server.faults.standing = Refuse(429, retry_after_s=1)
    async with openai.AsyncOpenAI(api_key=SECRET, base_url=server.url, max_retries=0) as client:
        with pytest.raises(openai.RateLimitError):
            await client.audio.speech.create(model="m", voice="alloy", input=TEXT, response_format="pcm")
