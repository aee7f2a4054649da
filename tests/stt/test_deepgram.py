"""Deepgram's recognizers against a stand-in that speaks Deepgram's wire."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

import stages.stt.stage
from antiphon_testing.conformance.recognizer import RecognizerConformance, Run, Subject, running
from antiphon_testing.resampling import resample
from antiphon_testing.speech import silence
from antiphon_testing.stage import worker
from antiphon_testing.vendors.deepgram_server import deepgram_server
from antiphon_testing.vendors.faults import Close, Fault, Garbage, HalfFrame, Refuse, Wrong
from antiphon_testing.vendors.speech_server import SpeechServer
from schemas.audio import AGENT_HZ, CALLER_HZ
from schemas.events import TranscriptFinal, TurnJudged
from schemas.provider_keys import ProviderKeys
from stages.runtime.providers import ProviderContext, ProviderError
from stages.stt.contract import HeardEndOfTurn, HeardFinal, HeardTurnResumed
from stages.stt.providers import deepgram
from stages.tts.token_codec import encode

KEY = "sesame"
WITHIN_S = 30.0


def spoken(text: str) -> bytes:
    return b"".join(resample(iter([encode(text)]), AGENT_HZ, CALLER_HZ))


SPEECH = silence(0.3) + spoken("Good morning.") + silence(0.6)


def context(server: SpeechServer, key: str = KEY) -> ProviderContext:
    keys = ProviderKeys.from_environment({"DEEPGRAM_API_KEY": key, "DEEPGRAM_BASE_URL": server.url})
    return ProviderContext(keys, vad="script")


@pytest.fixture
async def server() -> AsyncIterator[SpeechServer]:
    async with deepgram_server(key=KEY) as one:
        yield one


@asynccontextmanager
async def subject_of(server: SpeechServer, **options: Any) -> AsyncIterator[Subject]:
    async with deepgram.open_provider(context(server)) as provider:
        yield Subject(provider, options, SPEECH, fail=server.hang_up, haste=10)


@asynccontextmanager
async def run_of(server: SpeechServer, **options: Any) -> AsyncIterator[tuple[Run, "asyncio.Task[None]"]]:
    async with subject_of(server, **options) as subject, running(subject) as (run, following):
        yield run, following


class TestNova(RecognizerConformance):
    @pytest.fixture
    async def subject(self, server: SpeechServer) -> AsyncIterator[Subject]:
        async with subject_of(server) as subject:
            yield subject


class TestFlux(RecognizerConformance):
    @pytest.fixture
    async def subject(self, server: SpeechServer) -> AsyncIterator[Subject]:
        async with subject_of(server, model="flux-general-en") as subject:
            yield subject


async def test_nova_is_asked_for_interims_language_and_key_terms(server: SpeechServer) -> None:
    async with run_of(server, language="de", key_terms=["Antiphon", "Vesper"]):
        pass
    query = server.queries[0]
    assert (query["model"], query["language"], query["keyterm"]) == (["nova-3"], ["de"], ["Antiphon", "Vesper"])
    assert query["interim_results"] == ["true"]
    assert server.keys == [KEY]


async def test_flux_is_asked_for_eager_judgements(server: SpeechServer) -> None:
    async with run_of(server, model="flux-general-multi", language="fr", eager=0.4):
        pass
    assert server.queries[0]["eager_eot_threshold"] == ["0.4"]
    assert server.queries[0]["language_hint"] == ["fr"]


async def test_the_end_of_speech_finalizes_and_the_words_have_times(server: SpeechServer) -> None:
    async with run_of(server) as (run, following):
        await run.feed(SPEECH)
        await run.has(lambda: any(final.text for final in run.finals), "the words")
        await run.recognizer.finish()
        await asyncio.wait([following], timeout=WITHIN_S)
    final = next(final for final in run.finals if final.text)
    assert [word.text for word in final.words] == ["Good", "morning."]
    assert 0 <= final.words[0].start_ms <= final.words[0].end_ms <= final.words[1].start_ms
    assert server.received[0] == "Finalize"
    assert server.received[-1] == "CloseStream"


async def test_an_idle_connection_is_kept_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deepgram, "KEEP_ALIVE_S", 0.05)
    async with deepgram_server(idle_s=1.0) as server, run_of(server) as (run, following):
        await run.has(lambda: len(server.received) >= 25, "keep-alive messages")  # 1.25 s: more than it waits
        assert not following.done()
    assert set(server.received) == {"KeepAlive"}


async def test_flux_gets_silence_where_the_caller_sends_nothing(
    server: SpeechServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deepgram, "FILL_S", 0.1)
    async with run_of(server, model="flux-general-en") as (run, _):
        await run.feed(silence(0.1) + spoken("Hello."))
        await run.has(lambda: bool(run.finals), "the end of the turn")
    assert run.finals[0].text == "Hello."
    assert run.finals[0].end_of_turn


async def test_flux_guesses_the_end_of_the_turn_and_takes_it_back(server: SpeechServer) -> None:
    speech = spoken("I think") + silence(0.3) + spoken("so.") + silence(0.6)
    async with run_of(server, model="flux-general-en") as (run, _):
        await run.feed(speech)
        await run.has(lambda: bool(run.finals), "the end of the turn")
    judged = [heard for heard in run.outputs if isinstance(heard, HeardEndOfTurn | HeardTurnResumed | HeardFinal)]
    kinds = [type(heard) for heard in judged]
    assert kinds[:3] == [HeardEndOfTurn, HeardTurnResumed, HeardEndOfTurn]
    assert kinds[-1] is HeardFinal
    assert run.finals[0].text == "I think so."


async def test_the_stage_publishes_flux_s_judgements(server: SpeechServer) -> None:
    agent = {"stt": {"provider": "deepgram", "options": {"model": "flux-general-en"}}}
    pcm = spoken("I think") + silence(0.3) + spoken("so.") + silence(0.6)
    async with worker(stages.stt.stage, context(server)) as one, one.call(agent) as call:
        for number in range(len(pcm) // 640):
            call.hear_audio(pcm[number * 640 : number * 640 + 640], at=number * 320)
            await asyncio.sleep(0.002)
        await call.publishes(TranscriptFinal, end_of_turn=True)
        probabilities = [judged.probability for judged in call.published(TurnJudged)]
        texts = [final.text for final in call.published(TranscriptFinal) if final.text]
    assert probabilities[0] > 0.5
    assert 0.0 in probabilities
    assert texts == ["I think so."]


@pytest.mark.parametrize("model", ["nova-3", "flux-general-en"])
@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (Close(1, 1000), "connection"),
        (Close(1, 1005), "connection"),
        (Close(1, 1011), "connection"),
        (HalfFrame(1), "connection"),
        (Garbage(1), "server"),
    ],
)
async def test_a_fault_is_a_provider_error(server: SpeechServer, model: str, fault: Fault, kind: str) -> None:
    server.faults.standing = fault
    async with run_of(server, model=model) as (run, following):
        await run.feed(SPEECH)
        await asyncio.wait([following], timeout=WITHIN_S)
        error = following.exception()
    assert isinstance(error, ProviderError)
    assert error.kind == kind
    assert error.retryable


@pytest.mark.parametrize("model", ["nova-3", "flux-general-en"])
async def test_a_final_that_comes_twice_counts_once(server: SpeechServer, model: str) -> None:
    server.faults.standing = Wrong("duplicate_final")
    async with run_of(server, model=model) as (run, following):
        await run.feed(SPEECH)
        await run.recognizer.finish()
        await asyncio.wait([following], timeout=WITHIN_S)
    assert [final.text for final in run.finals if final.text] == ["Good morning."]


@pytest.mark.parametrize(
    ("fault", "kind", "wait_s"),
    [(Refuse(401), "auth", None), (Refuse(429, retry_after_s=3), "quota", 3.0), (Refuse(500), "server", None)],
)
async def test_a_refused_connection(server: SpeechServer, fault: Fault, kind: str, wait_s: float | None) -> None:
    server.faults.standing = fault
    with pytest.raises(ProviderError, match="Deepgram") as caught:
        async with run_of(server):
            pass
    assert (caught.value.kind, caught.value.retry_after_s) == (kind, wait_s)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"modle": "nova-3"}, "modle"),
        ({"model": "flux-general-en", "language": "de"}, "flux-general-multi"),
        ({"base_url": "ftp://x"}, "base_url"),
        ({"eager": 2}, "eager"),
    ],
)
async def test_a_wrong_option_is_named(server: SpeechServer, options: dict[str, Any], named: str) -> None:
    with pytest.raises(ProviderError, match=named) as caught:
        async with run_of(server, **options):
            pass
    assert caught.value.kind == "options"
    assert not server.queries


async def test_connects_cancels_and_drops_leave_nothing(server: SpeechServer) -> None:
    """50 of them; 500 by hand: 0 tasks and 0 sockets left."""
    before = len(asyncio.all_tasks())
    async with deepgram.open_provider(context(server)) as provider:
        for count in range(50):
            server.faults.queue((None, Close(0, 1011), Close(0, 1006), Refuse(503))[count % 4])
            with suppress(ProviderError):
                async with running(Subject(provider, {}, SPEECH, haste=1000)) as (run, _):
                    run.recognizer.feed(SPEECH[:6400], 0)
                    run.recognizer.force_end()
                    await asyncio.sleep(0.01)
        async with asyncio.timeout(WITHIN_S):
            while server.open:
                await asyncio.sleep(0.01)
    assert len(asyncio.all_tasks()) <= before + 1
