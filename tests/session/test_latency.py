"""The waterfall of a turn, read off its events."""

from typing import Any

import msgspec

from schemas import events
from schemas.audio import CALLER_HZ
from schemas.events import Event
from session.latency import waterfall
from session.state import SessionState, fold

STARTED = 1_700_000_000_000_000  # UTC microseconds of the caller's first sample


def at(ms: int) -> int:
    return STARTED + ms * 1000


def told(*call_events: Event) -> SessionState:
    state = SessionState()
    opened = events.SessionOpened(owners={}, coordinator="c", transport="null", started_us=STARTED, config={})
    for seq, event in enumerate((opened, *call_events)):
        state = fold(state, type(event)(**{**_fields(event), "seq": seq}))
    return state


def _fields(event: Event) -> dict[str, Any]:
    return {name: getattr(event, name) for name in event.__struct_fields__}


QUESTION: tuple[Event, ...] = (
    events.SpeechStarted(utterance=0, start_sample=0),
    events.SpeechEnded(utterance=0, until_sample=CALLER_HZ),  # speech ends 1,000 ms into the call
    events.TranscriptFinal(utterance=0, text="when", start_sample=0, until_sample=CALLER_HZ, time=at(1_300)),
)
STARTS = events.TurnStarted(turn=2, answers=0, time=at(1_350))
SAYS = events.SentenceReady(turn=2, segment=0, text="At nine.", first_token_ms=200, time=at(1_650))
MORE = events.SentenceReady(turn=2, segment=1, text="Bye.", last=True, time=at(1_900))
VOICED = events.SegmentSynthesized(turn=2, segment=0, duration_ms=800, first_audio_ms=100, time=at(2_000))
PLAYS = events.PlaybackStarted(turn=2, time=at(1_770))


def test_the_waterfall_of_a_turn() -> None:
    falls = waterfall(told(*QUESTION, STARTS, SAYS, MORE, VOICED, PLAYS), 2)
    assert falls is not None
    assert falls.began == at(1_000)
    assert [(step.name, step.start, step.length) for step in falls.steps] == [
        ("transcript final", 0, 300),
        ("end of turn", 300, 50),
        ("LLM first token", 350, 200),
        ("TTS first audio", 550, 200),
        ("first audio out", 750, 20),
    ]
    assert falls.total_ms == 770


def test_it_grows_as_the_turn_comes_along() -> None:
    falls = waterfall(told(*QUESTION, STARTS), 2)
    assert falls is not None
    assert [mark.name for mark in falls.marks] == ["end of speech", "transcript final", "end of turn"]
    assert falls.total_ms is None


def test_a_turn_that_has_not_started_has_none() -> None:
    assert waterfall(told(*QUESTION), 2) is None
    assert waterfall(told(*QUESTION, PLAYS), 2) is None


def test_a_transcript_that_is_final_before_silence_costs_nothing() -> None:
    early = events.TranscriptFinal(utterance=0, text="when", start_sample=0, until_sample=9, time=at(900))
    falls = waterfall(told(*QUESTION[:2], early, STARTS, SAYS), 2)
    assert falls is not None
    assert falls.steps[0] == ("transcript final", 0, 0)
    assert falls.steps[1] == ("end of turn", 0, 350)


def test_hosts_whose_clocks_differ_never_make_time_run_backwards() -> None:
    plays = events.PlaybackStarted(turn=2, time=at(1_749))  # a millisecond before the audio it plays
    falls = waterfall(told(*QUESTION, STARTS, SAYS, VOICED, plays), 2)
    assert falls is not None
    assert falls.steps[-1] == ("first audio out", 750, 0)


def test_the_wait_for_more_words_is_not_the_models() -> None:
    unfinished = events.TurnStarted(turn=2, answers=0, time=at(3_500))
    says = events.SentenceReady(turn=2, segment=0, text="At nine.", first_token_ms=200, time=at(3_800))
    falls = waterfall(told(*QUESTION, unfinished, says), 2)
    assert falls is not None
    assert falls.steps[1:] == [("end of turn", 300, 2_200), ("LLM first token", 2_500, 200)]


def test_a_greeting_is_timed_from_its_own_start() -> None:
    hello = events.SentenceReady(turn=1, segment=0, text="Hello.", last=True, time=at(101))
    call_events = (
        events.TurnStarted(turn=1, answers=-1, time=at(100)),
        hello,
        events.SegmentSynthesized(turn=1, segment=0, duration_ms=500, first_audio_ms=49),
        events.PlaybackStarted(turn=1, time=at(160)),
    )
    falls = waterfall(told(*call_events), 1)
    assert falls is not None
    assert falls.marks[0].name == "turn started"
    assert [(step.name, step.length) for step in falls.steps] == [("TTS first audio", 50), ("first audio out", 10)]


def test_a_mark_that_is_missing_leaves_its_time_to_the_next() -> None:
    canned = events.SentenceReady(turn=2, segment=0, text="At nine.", last=True, time=at(1_351))
    falls = waterfall(told(*QUESTION, STARTS, canned, PLAYS), 2)
    assert falls is not None
    assert falls.steps[-1] == ("first audio out", 350, 420)


def test_the_wait_for_a_typed_question_counts_from_the_text() -> None:
    state = told(
        *QUESTION,
        STARTS,
        events.TextReceived(text="and on Sunday", number=1, time=at(5_000)),
        events.TurnStarted(turn=3, answers=0, typed=1, time=at(5_010)),
        events.PlaybackStarted(turn=3, time=at(5_400)),
    )
    falls = waterfall(state, 3)
    assert falls is not None
    assert [(mark.name, mark.at) for mark in falls.marks] == [("text received", 0), ("first audio out", 400)]
    assert falls.total_ms == 400


def test_clocks_of_other_hosts_do_not_change_a_waterfall() -> None:
    """Every stage is two minutes ahead or behind, by another amount each."""
    offset_us = {"stt": 120_000_000, "llm": -120_000_000, "tts": 7_000_000, "egress": 240_000_000}
    shifted = [
        msgspec.structs.replace(event, time=event.time + offset_us[events.stage(event)] if event.time else 0)
        for event in (*QUESTION, STARTS, SAYS, MORE, VOICED, PLAYS)
    ]
    opened = events.SessionOpened(
        owners={}, coordinator="c", transport="null", started_us=STARTED, config={}, clock_offset_us=offset_us
    )
    state = SessionState()
    for seq, event in enumerate((opened, *shifted)):
        state = fold(state, msgspec.structs.replace(event, seq=seq))
    assert waterfall(state, 2) == waterfall(told(*QUESTION, STARTS, SAYS, MORE, VOICED, PLAYS), 2)


def test_an_owner_that_changed_brings_its_own_clock() -> None:
    changed = events.OwnerChanged(stage="egress", worker="new", owner_epoch=9, clock_offset_us=120_000_000)
    plays = events.PlaybackStarted(turn=2, epoch=9, time=at(1_770 + 120_000))
    falls = waterfall(told(*QUESTION, STARTS, SAYS, VOICED, changed, plays), 2)
    assert falls is not None
    assert falls.total_ms == 770
