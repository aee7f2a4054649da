"""The stage between a recogniser and the call."""

import msgspec
import pytest

import stages.stt.stage
from schemas.events import MOST_UNFINISHED, SpeechEnded, SpeechStarted, SttProviderFailed, TranscriptFinal
from session.state import SessionState, Utterance
from stages.runtime.context import StageContext
from stages.runtime.providers import ProviderContext, ProviderError, Providers, RecognizerProvider
from stages.stt.stage import Hearing, open_session
from tests.kit.stage import EPOCH, Outbox, call

LOUD = (3_000).to_bytes(2, "little") * 320
SCRIPTED = {"stt": {"provider": "scripted"}}


class Deaf:
    """A recogniser whose vendor has gone away."""

    def feed(self, pcm: bytes, at: int) -> None:
        raise ProviderError("connection", "the line to the vendor broke", retryable=True)

    async def finish(self) -> None:
        raise AssertionError("a recogniser that failed is not asked to finish")


async def test_a_recogniser_that_fails_is_told_once_and_ends_the_session() -> None:
    outbox = Outbox()

    async def lose_the_vendor() -> None:
        async with call(stages.stt.stage, SCRIPTED) as caller:
            caller.session._outlet = outbox
            caller.stage.recognizer = Deaf()
            caller.hear_audio(LOUD, at=0)
            caller.hear_audio(LOUD, at=320)

    with pytest.raises(ProviderError, match="broke"):
        await lose_the_vendor()
    failures = [event for event in outbox.events if isinstance(event, SttProviderFailed)]
    assert [(event.provider, event.kind, event.retryable) for event in failures] == [("scripted", "connection", True)]


async def test_a_recogniser_that_falls_ever_further_behind_is_told_once_and_ends_the_session() -> None:
    outbox = Outbox()

    async def fall_behind() -> None:
        async with call(stages.stt.stage, SCRIPTED) as caller:
            caller.session._outlet = outbox
            for number in range(MOST_UNFINISHED + 2):
                caller.stage.hear(SpeechStarted(utterance=number, start_sample=0))
                caller.stage.hear(SpeechEnded(utterance=number, until_sample=0))

    with pytest.raises(ProviderError, match="cannot keep up"):
        await fall_behind()
    assert [event.kind for event in outbox.events if isinstance(event, SttProviderFailed)] == ["server"]


async def test_a_recogniser_that_is_late_and_no_more_goes_on() -> None:
    async with call(stages.stt.stage, SCRIPTED) as caller:
        for number in range(3 * MOST_UNFINISHED):
            caller.stage.hear(SpeechStarted(utterance=number, start_sample=0))
            caller.stage.hear(SpeechEnded(utterance=number, until_sample=0))
            if (late := number - MOST_UNFINISHED + 1) >= 0:
                caller.stage.hear(TranscriptFinal(utterance=late, text="", start_sample=0, until_sample=0))
        assert caller.published(SttProviderFailed) == []
    assert len(caller.published(SpeechStarted)) == 3 * MOST_UNFINISHED


async def test_a_new_owner_goes_on_counting_utterances() -> None:
    outbox = Outbox()
    session = StageContext("stt", "s1", "agent1", EPOCH, outbox, Hearing.publishes)
    session.agent = session.agent.model_validate({"id": "agent1", **SCRIPTED})
    session.snapshot = msgspec.msgpack.encode(SessionState(utterances={0: Utterance(), 4: Utterance()}))
    async with (
        Providers[RecognizerProvider]("stt", ProviderContext()) as providers,
        open_session(session, providers) as hearing,
    ):
        assert isinstance(hearing, Hearing)
        assert hearing.recognizer is not None
        hearing.recognizer.feed(LOUD, 0)
    started = outbox.events[0]
    assert isinstance(started, SpeechStarted)
    assert started.utterance == 5
