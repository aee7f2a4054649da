"""AssemblyAI's recognizer against a stand-in that speaks AssemblyAI's wire."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

from antiphon_testing.conformance.recognizer import RecognizerConformance, Run, Subject, running
from antiphon_testing.resampling import resample
from antiphon_testing.speech import silence
from antiphon_testing.vendors.assemblyai_server import assemblyai_server
from antiphon_testing.vendors.faults import Close, Fault, Garbage, HalfFrame, Refuse, Wrong
from antiphon_testing.vendors.speech_server import SpeechServer
from schemas.audio import AGENT_HZ, CALLER_HZ
from schemas.provider_keys import ProviderKeys
from stages.runtime.providers import ProviderContext, ProviderError
from stages.stt.providers import assemblyai
from stages.tts.token_codec import encode

KEY = "sesame"
WITHIN_S = 30.0
SPEECH = silence(0.3) + b"".join(resample(iter([encode("Good morning.")]), AGENT_HZ, CALLER_HZ)) + silence(0.6)


@pytest.fixture
async def server() -> AsyncIterator[SpeechServer]:
    async with assemblyai_server(key=KEY) as one:
        yield one


@asynccontextmanager
async def subject_of(server: SpeechServer, **options: Any) -> AsyncIterator[Subject]:
    keys = ProviderKeys.from_environment({"ASSEMBLYAI_API_KEY": KEY, "ASSEMBLYAI_BASE_URL": server.url})
    async with assemblyai.open_provider(ProviderContext(keys)) as provider:
        yield Subject(provider, options, SPEECH, fail=server.hang_up, haste=10)


@asynccontextmanager
async def run_of(server: SpeechServer, **options: Any) -> AsyncIterator[tuple[Run, "asyncio.Task[None]"]]:
    async with subject_of(server, **options) as subject, running(subject) as (run, following):
        yield run, following


class TestTurnsOfTheVendor(RecognizerConformance):
    @pytest.fixture
    async def subject(self, server: SpeechServer) -> AsyncIterator[Subject]:
        async with subject_of(server) as subject:
            yield subject


class TestTurnsOfTheWorker(RecognizerConformance):
    @pytest.fixture
    async def subject(self, server: SpeechServer) -> AsyncIterator[Subject]:
        async with subject_of(server, turn_events=False) as subject:
            yield subject


async def test_it_asks_for_language_and_key_terms(server: SpeechServer) -> None:
    async with run_of(server, language="es", key_terms=["Antiphon"]):
        pass
    query = server.queries[0]
    assert query["speech_model"] == ["universal-streaming-multilingual"]
    assert query["keyterms_prompt"] == ['["Antiphon"]']
    assert server.keys == [KEY]


async def test_a_turn_ends_with_its_words_and_their_times(server: SpeechServer) -> None:
    async with run_of(server) as (run, following):
        await run.feed(SPEECH)
        await run.has(lambda: bool(run.finals), "the turn")
        await run.recognizer.finish()
        await asyncio.wait([following], timeout=WITHIN_S)
    final = run.finals[0]
    assert (final.text, final.end_of_turn) == ("good morning", True)
    assert [word.text for word in final.words] == ["good", "morning"]
    assert server.received == ["ForceEndpoint", "Terminate"]


async def test_a_final_that_comes_twice_counts_once(server: SpeechServer) -> None:
    server.faults.standing = Wrong("duplicate_final")
    async with run_of(server) as (run, following):
        await run.feed(SPEECH)
        await run.recognizer.finish()
        await asyncio.wait([following], timeout=WITHIN_S)
    assert [final.text for final in run.finals if final.text] == ["good morning"]


@pytest.mark.parametrize(
    ("fault", "kind", "retryable"),
    [
        (Close(1, 1000), "connection", True),
        (Close(1, 1005), "connection", True),
        (Close(1, 1011), "connection", True),
        (Close(1, 1008), "auth", False),
        (Close(1, 3009), "quota", True),
        (HalfFrame(1), "connection", True),
        (Garbage(1), "server", True),
    ],
)
async def test_a_fault_is_a_provider_error(server: SpeechServer, fault: Fault, kind: str, retryable: bool) -> None:
    server.faults.standing = fault
    async with run_of(server) as (run, following):
        await run.feed(SPEECH)
        await asyncio.wait([following], timeout=WITHIN_S)
        error = following.exception()
    assert isinstance(error, ProviderError)
    assert (error.kind, error.retryable) == (kind, retryable)


@pytest.mark.parametrize(("fault", "kind"), [(Refuse(401), "auth"), (Refuse(429), "quota"), (Refuse(500), "server")])
async def test_a_refused_connection(server: SpeechServer, fault: Fault, kind: str) -> None:
    server.faults.standing = fault
    with pytest.raises(ProviderError, match="AssemblyAI") as caught:
        async with run_of(server):
            pass
    assert caught.value.kind == kind


async def test_connects_cancels_and_drops_leave_nothing(server: SpeechServer) -> None:
    before = len(asyncio.all_tasks())
    for count in range(50):
        server.faults.queue((None, Close(0, 1011), Close(0, 1006), Refuse(503))[count % 4])
        with suppress(ProviderError):
            async with run_of(server) as (run, _):
                run.recognizer.feed(SPEECH[:6400], 0)
                run.recognizer.force_end()
                await asyncio.sleep(0.01)
    async with asyncio.timeout(WITHIN_S):
        while server.open:
            await asyncio.sleep(0.01)
    assert len(asyncio.all_tasks()) <= before + 1
