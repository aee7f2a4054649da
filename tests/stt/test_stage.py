"""The stage between VAD, a recognizer and the session."""

from collections.abc import AsyncIterator

import msgspec
import pytest

import stages.stt.stage
from antiphon_testing.stage import EPOCH, Call, Outbox
from antiphon_testing.virtual_time import in_virtual_time
from schemas.events import (
    MOST_UNFINISHED,
    Event,
    SpeechEnded,
    SpeechStarted,
    SttProviderFailed,
    TranscriptFinal,
    TranscriptInterim,
    TurnJudged,
)
from schemas.media import Frame
from session.entries import Utterance
from session.state import SessionState
from stages.runtime.context import StageContext
from stages.runtime.providers import ProviderContext, ProviderError, Providers
from stages.stt.contract import (
    Capabilities,
    Heard,
    HeardEndOfTurn,
    HeardFinal,
    HeardInterim,
    HeardSpeechStarted,
    HeardTurnResumed,
    RecognizerProvider,
)
from stages.stt.lateness import FINAL_WITHIN_MS
from stages.stt.stage import MARGIN_MS, Hearing, open_session
from tests.kit.hearing import ByHand, hearing

FRAME = 320
LOUD = (3_000).to_bytes(2, "little") * FRAME
SILENT = bytes(2 * FRAME)
ACME = {"stt": {"provider": "acme"}}
SCRIPTED = {"stt": {"provider": "scripted"}}


def speak(call: Call, number: int = 0) -> None:
    """One frame of speech and one of silence; `number` of them went before."""
    call.hear_audio(LOUD, at=2 * number * FRAME)
    call.hear_audio(SILENT, at=(2 * number + 1) * FRAME)


def final(number: int = 0, text: str = "") -> HeardFinal:
    """The final of the speech that `speak` makes."""
    return HeardFinal(text, 2 * number * FRAME, (2 * number + 1) * FRAME)


# --- failures ---------------------------------------------------------------------------------------------------------


async def test_a_recognizer_that_fails_is_reported_once_and_ends_the_session_without_another_frame() -> None:
    recognizer = ByHand()
    events: list[Event] = []

    async def lose_the_vendor() -> None:
        async with hearing(recognizer).call(ACME) as caller:
            caller.hear_audio(LOUD, at=0)
            recognizer.outputs.fail(ProviderError("connection", "the line to the vendor broke", retryable=True))
            failed = await caller.publishes(SttProviderFailed)
            assert failed.kind == "connection"
            caller.hear_audio(LOUD, at=320)
            caller.hear_audio(LOUD, at=640)
            events.extend(caller.events)

    with pytest.raises(ProviderError, match="broke"):
        await lose_the_vendor()
    failures = [event for event in events if isinstance(event, SttProviderFailed)]
    assert [(event.provider, event.kind, event.retryable) for event in failures] == [("acme", "connection", True)]
    assert not recognizer.finished, "a recognizer that failed is not asked to finish"


async def test_a_recognizer_that_ends_by_itself_has_failed() -> None:
    recognizer = ByHand()

    async def lose_the_vendor() -> None:
        async with hearing(recognizer).call(ACME) as caller:
            recognizer.outputs.end()
            await caller.publishes(SttProviderFailed)

    with pytest.raises(ProviderError, match="ended before the session"):
        await lose_the_vendor()


async def test_a_defect_of_an_adapter_ends_its_session() -> None:
    class Defective(ByHand):
        async def heard(self) -> AsyncIterator[Heard]:
            raise ValueError("a defect")
            yield  # makes it a generator

    async def meet_the_defect() -> None:
        async with hearing(Defective()).call(ACME) as caller:
            await caller.publishes(TranscriptFinal)

    with pytest.raises(ValueError, match="a defect"):
        await meet_the_defect()


async def test_a_recognizer_that_falls_ever_further_behind_is_reported_once_and_ends_the_session() -> None:
    events: list[Event] = []

    async def fall_behind() -> None:
        async with hearing(ByHand()).call(ACME) as caller:
            for number in range(MOST_UNFINISHED + 2):
                speak(caller, number)
            events.extend(caller.events)

    with pytest.raises(ProviderError, match="cannot keep up"):
        await fall_behind()
    assert [event.kind for event in events if isinstance(event, SttProviderFailed)] == ["server"]


async def test_a_recognizer_that_is_late_and_no_more_goes_on() -> None:
    recognizer = ByHand()
    async with hearing(recognizer).call(ACME) as caller:
        for number in range(3 * MOST_UNFINISHED):
            speak(caller, number)
            if (late := number - MOST_UNFINISHED + 1) >= 0:
                recognizer.outputs.put(final(late))
                await caller.publishes(TranscriptFinal, utterance=late)
        assert caller.published(SttProviderFailed) == []
    assert len(caller.published(SpeechStarted)) == 3 * MOST_UNFINISHED


# --- deadlines --------------------------------------------------------------------------------------------------------


@in_virtual_time
async def test_a_recognizer_that_says_nothing_leaves_no_utterance_without_its_last_part() -> None:
    async with hearing(ByHand()).call(ACME) as caller:
        speak(caller)
        await caller.wait_ms(FINAL_WITHIN_MS + MARGIN_MS - 1)
        assert caller.published(TranscriptFinal) == []
        await caller.wait_ms(2)
        assert [(one.text, one.part, one.last) for one in caller.published(TranscriptFinal)] == [("", 0, True)]
        assert caller.session.counters == {"final_overdue": 1}


@in_virtual_time
async def test_a_recognizer_that_hangs_at_the_end_leaves_the_words_of_its_last_interim() -> None:
    recognizer = ByHand()

    async def hangs() -> None:
        await caller.wait_ms(10_000)

    async with hearing(recognizer).call(ACME) as caller:
        caller.hear_audio(LOUD, at=0)
        recognizer.outputs.put(HeardInterim("one moment", 0, FRAME))
        await caller.publishes(TranscriptInterim)
        recognizer.finish = hangs  # type: ignore[method-assign]
    assert [(one.text, one.last) for one in caller.published(TranscriptFinal)] == [("one moment", True)]
    assert [type(event) for event in caller.events][-2:] == [SpeechEnded, TranscriptFinal]


async def test_a_recognizer_that_fails_at_the_hang_up_leaves_the_words_of_its_last_interim() -> None:
    recognizer = ByHand()

    async def fails() -> None:
        recognizer.outputs.fail(ProviderError("connection", "broke"))

    async with hearing(recognizer).call(ACME) as caller:
        caller.hear_audio(LOUD, at=0)
        recognizer.outputs.put(HeardInterim("one moment", 0, FRAME))
        await caller.publishes(TranscriptInterim)
        recognizer.finish = fails  # type: ignore[method-assign]
    assert [(one.text, one.last) for one in caller.published(TranscriptFinal)] == [("one moment", True)]
    assert [event.kind for event in caller.published(SttProviderFailed)] == ["connection"]


async def test_silence_forces_the_end_of_a_recognizer_that_can_be_forced() -> None:
    recognizer = ByHand(Capabilities(force_end=True))
    async with hearing(recognizer).call(ACME) as caller:
        speak(caller)
        assert recognizer.forced == 1
        recognizer.outputs.put(final())
        await caller.publishes(TranscriptFinal)


async def test_silence_does_not_force_one_that_judges_turns_by_itself() -> None:
    recognizer = ByHand(Capabilities(force_end=True, turn_events=True))
    async with hearing(recognizer).call(ACME) as caller:
        speak(caller)
        assert recognizer.forced == 0


@in_virtual_time
async def test_the_time_to_the_final_is_declared_or_measured() -> None:
    declared, measured = ByHand(Capabilities(final_within_ms=70)), ByHand()
    async with hearing(declared).call(ACME) as caller:
        speak(caller)
    assert caller.published(SpeechEnded)[0].final_within_ms == 70
    async with hearing(measured).call(ACME) as caller:
        for number in range(60):
            speak(caller, number)
            await caller.wait_ms(150)
            measured.outputs.put(final(number))
            await caller.publishes(TranscriptFinal, utterance=number)
    assert caller.published(SpeechEnded)[0].final_within_ms == FINAL_WITHIN_MS
    assert caller.published(SpeechEnded)[-1].final_within_ms == 150


# --- turns ------------------------------------------------------------------------------------------------------------


async def test_the_recognizer_s_judgement_on_the_turn_is_published() -> None:
    recognizer = ByHand(Capabilities(turn_events=True))
    async with hearing(recognizer).call(ACME) as caller:
        speak(caller)
        recognizer.outputs.put(HeardEndOfTurn(FRAME, 0.4, eager=True))
        recognizer.outputs.put(HeardTurnResumed(2 * FRAME))
        await caller.publishes(TurnJudged, at_sample=2 * FRAME)
    assert [(one.utterance, one.at_sample, one.probability, one.source) for one in caller.published(TurnJudged)] == [
        (0, FRAME, 0.4, "recognizer"),
        (0, 2 * FRAME, 0.0, "recognizer"),
    ]


async def test_speech_that_only_the_recognizer_noticed_is_counted() -> None:
    recognizer = ByHand()
    async with hearing(recognizer).call(ACME) as caller:
        recognizer.outputs.put(HeardSpeechStarted(0))
        recognizer.outputs.put(HeardFinal("Psst.", 0, FRAME))
        await caller.publishes(TranscriptFinal, text="Psst.")
        assert caller.session.counters == {"speech_unnoticed": 1}


# --- audio ------------------------------------------------------------------------------------------------------------


async def test_a_replayed_frame_is_not_fed_twice() -> None:
    fed: list[tuple[int, int]] = []
    recognizer = ByHand()
    recognizer.feed = lambda pcm, at_sample: fed.append((at_sample, len(pcm) // 2))  # type: ignore[method-assign]
    async with hearing(recognizer).call(ACME) as caller:
        caller.hear_audio(SILENT, at=0)
        caller.hear_audio(SILENT + SILENT, at=160)
        caller.hear_audio(SILENT, at=160)
        caller.hear_audio(SILENT, at=5_000)
    assert fed == [(0, FRAME), (FRAME, FRAME + 160), (5_000, FRAME)]


async def test_a_new_owner_goes_on_counting_utterances() -> None:
    outbox = Outbox()
    session = StageContext("stt", "s1", "agent1", EPOCH, outbox, Hearing.publishes)
    session.agent = session.agent.model_validate({"id": "agent1", **SCRIPTED})
    session.snapshot = msgspec.msgpack.encode(
        SessionState(utterances={0: Utterance(final=True), 4: Utterance(final=True)})
    )
    async with (
        Providers[RecognizerProvider]("stt", ProviderContext()) as providers,
        stages.stt.stage.open_worker(providers) as shared,
        open_session(session, shared) as opened,
    ):
        assert isinstance(opened, Hearing)
        assert opened.recognizer is not None
        opened.on_audio(Frame(LOUD, EPOCH, 0, 16_000, 0))
    started = outbox.events[0]
    assert isinstance(started, SpeechStarted)
    assert started.utterance == 5
