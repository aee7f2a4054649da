"""An llm stage that starts from a snapshot goes on with the conversation where the owner before left it."""

from typing import Any

from antiphon_testing import stage as kit
from antiphon_testing.virtual_time import in_virtual_time
from schemas.agent import Turns
from schemas.events import (
    Event,
    Missing,
    Part,
    PlaybackEnded,
    PlaybackStarted,
    ReplyResumed,
    SegmentSynthesized,
    SentenceReady,
    SpeechEnded,
    SpeechStarted,
    TextReceived,
    TranscriptFinal,
    TurnCancelled,
    TurnEnded,
    TurnStarted,
)
from session.recoverable import TurnTaking
from session.state import dump
from stages.llm import recovery, stage
from stages.llm.states import Opening
from stages.llm.turns import opening
from tests.session.told import Told

AGENT: dict[str, Any] = {"llm": {"provider": "scripted", "options": {"replies": ["You said {text}"]}}}


def asked(text: str, utterance: int = 0) -> list[Event]:
    return [
        SpeechStarted(utterance=utterance, start_sample=0),
        SpeechEnded(utterance=utterance, until_sample=16_000),
        TranscriptFinal(utterance=utterance, text=text, start_sample=0, until_sample=16_000),
    ]


def started(turn: int, text: str, utterance: int = 0) -> TurnStarted:
    return TurnStarted(turn=turn, answers=utterance, text=text, parts=(Part(utterance),), time=7)


def said(turn: int, text: str, *, last: bool = True) -> list[Event]:
    return [
        SentenceReady(turn=turn, segment=0, text=text, last=last),
        SegmentSynthesized(turn=turn, segment=0, duration_ms=1_600),
        PlaybackStarted(turn=turn, time=8),
    ]


def after(*told: Event) -> bytes:
    """The snapshot of a session of these events."""
    state = Told()
    state(*told)
    return dump(state.state)


def test_a_machine_without_a_past_is_the_one_that_every_session_begins_with() -> None:
    rules = Turns()
    for greeting in (True, False):
        assert recovery.resume(TurnTaking(), rules, 5_000, greeting=greeting) == opening(rules, greeting=greeting)
    assert isinstance(opening(rules, greeting=False), Opening)


@in_virtual_time
async def test_words_that_were_not_answered_are_answered() -> None:
    async with kit.call(stage, AGENT, snapshot=after(*asked("When do you open?"))) as llm:
        turn = await llm.publishes(TurnStarted)
        assert (turn.turn, turn.answers, turn.text) == (2, 0, "When do you open?")
        await llm.publishes(SentenceReady, text="You said When do you open?")


@in_virtual_time
async def test_a_reply_without_a_sentence_is_asked_for_again() -> None:
    snapshot = after(*asked("When do you open?"), started(2, "When do you open?"))
    async with kit.call(stage, AGENT, snapshot=snapshot) as llm:
        await llm.publishes(SentenceReady, turn=2, segment=0, text="You said When do you open?")
        llm.hear(PlaybackEnded(turn=2, heard_ms=0))
        await llm.publishes(TurnEnded, turn=2)
        assert not llm.published(TurnStarted)


@in_virtual_time
async def test_a_greeting_that_was_lost_is_said() -> None:
    snapshot = after(TurnStarted(turn=1, answers=-1, time=7))
    async with kit.call(stage, {**AGENT, "greeting": "Hello there."}, snapshot=snapshot) as llm:
        await llm.publishes(SentenceReady, turn=1, segment=0, text="Hello there.")


@in_virtual_time
async def test_a_reply_that_broke_off_goes_on_behind_its_last_sentence() -> None:
    snapshot = after(*asked("When?"), started(2, "When?"), *said(2, "At nine.", last=False))
    async with kit.call(stage, AGENT, snapshot=snapshot) as llm:
        await llm.publishes(SentenceReady, turn=2, segment=1, text="You said When?", last=True)
        llm.hear(PlaybackEnded(turn=2, heard_ms=1_600))
        assert (await llm.publishes(TurnEnded, turn=2)).heard == "At nine."


@in_virtual_time
async def test_a_turn_that_was_played_becomes_history_at_once() -> None:
    snapshot = after(*asked("When?"), started(2, "When?"), *said(2, "At nine."), PlaybackEnded(turn=2, heard_ms=1_600))
    async with kit.call(stage, AGENT, snapshot=snapshot) as llm:
        assert (await llm.publishes(TurnEnded, turn=2)).heard == "At nine."


@in_virtual_time
async def test_an_interruption_of_a_reply_is_decided_and_the_history_is_what_was_heard() -> None:
    talked = [*asked("When?"), started(2, "When?"), *said(2, "At nine."), SpeechStarted(utterance=1, start_sample=1)]
    async with kit.call(stage, AGENT, snapshot=after(*talked)) as llm:
        llm.hear(TranscriptFinal(utterance=1, text="No, stop.", start_sample=0, until_sample=9))
        cancelled = await llm.publishes(TurnCancelled, turn=2)
        assert not cancelled.carried
        turn = await llm.publishes(TurnStarted)
        assert (turn.turn, turn.text) == (3, "No, stop.")


@in_virtual_time
async def test_a_turn_that_nothing_was_heard_of_is_answered_again_with_the_new_words() -> None:
    talked = [*asked("When?"), started(2, "When?"), SpeechStarted(utterance=1, start_sample=1)]
    async with kit.call(stage, AGENT, snapshot=after(*talked)) as llm:
        llm.hear(TranscriptFinal(utterance=1, text="On Sunday.", start_sample=0, until_sample=9))
        assert (await llm.publishes(TurnCancelled, turn=2)).carried
        turn = await llm.publishes(TurnStarted)
        assert (turn.turn, turn.answers, turn.text) == (3, 1, "When? On Sunday.")
        assert [(part.utterance, part.typed) for part in turn.parts] == [(0, 0), (1, 0)]


@in_virtual_time
async def test_late_words_are_compared_with_those_that_the_owner_before_took() -> None:
    pending = [SpeechStarted(utterance=0, start_sample=0), SpeechEnded(utterance=0, until_sample=9)]
    guess = TurnStarted(turn=2, answers=0, text="When", parts=(Part(0),), missing=(Missing(0, "When"),), time=7)
    for final, turns in (("When?", 0), ("When do you open?", 1)):
        async with kit.call(stage, AGENT, snapshot=after(*pending, guess, *said(2, "At nine."))) as llm:
            llm.hear(TranscriptFinal(utterance=0, text=final, start_sample=0, until_sample=9))
            await llm.wait_ms(1_000)
            assert len(llm.published(TurnCancelled)) == len(llm.published(TurnStarted)) == turns


@in_virtual_time
async def test_a_noise_that_nobody_decided_about_is_dismissed() -> None:
    talked = [*asked("When?"), started(2, "When?"), *said(2, "At nine."), *asked("", utterance=1)]
    async with kit.call(stage, AGENT, snapshot=after(*talked)) as llm:
        await llm.publishes(ReplyResumed, utterance=1)


@in_virtual_time
async def test_typed_text_that_was_answered_is_not_answered_twice() -> None:
    typed = TurnStarted(turn=2, answers=-1, typed=1, text="Hi", parts=(Part(-1, 1),), time=7)
    snapshot = after(TextReceived(text="Hi", number=1), typed, *said(2, "Hello."))
    async with kit.call(stage, AGENT, snapshot=snapshot) as llm:
        await llm.wait_ms(2_000)
        assert not llm.events
