"""What the events of a call add up to, in whatever order the network brings them."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import events
from schemas.config import MAX_DOCUMENT_BYTES
from schemas.events import Event, Owner, Word
from session.entries import Segment, TranscriptEntry
from session.retention import (
    KEEP,
    KEEP_HISTORY,
    KEEP_HISTORY_CHARACTERS,
    KEEP_SEGMENTS,
    KEEP_SPOKEN,
    KEEP_TEXTS,
    KEEP_UTTERANCES,
)
from session.state import SessionState, dump, fold, load
from tests.session.told import Told, numbered, opened


def asked(call: Told, utterance: int, text: str) -> None:
    call(
        events.SpeechStarted(utterance=utterance, start_sample=1_000),
        events.SpeechEnded(utterance=utterance, until_sample=9_000),
        events.TranscriptFinal(utterance=utterance, text=text, start_sample=1_000, until_sample=9_000),
    )


def answered(call: Told, turn: int, utterance: int, text: str, heard: str | None = None) -> None:
    call(
        events.TurnStarted(turn=turn, answers=utterance, text="?", time=7),
        events.SentenceReady(turn=turn, segment=0, text=text, last=True),
        events.SegmentSynthesized(turn=turn, segment=0, duration_ms=900),
        events.PlaybackStarted(turn=turn, time=8),
        events.PlaybackEnded(turn=turn, heard_ms=900),
        events.TurnEnded(turn=turn, heard=text if heard is None else heard),
    )


def test_parts_of_an_utterance_are_joined_in_order() -> None:
    call = Told()
    parts = [("I would like", False), ("a table", False), ("", True)]
    for number, (text, last) in enumerate(parts):
        call(
            events.TranscriptFinal(
                utterance=3, text=text, start_sample=0, until_sample=100 * (number + 1), part=number, last=last
            )
        )
    assert call.state.utterances[3].text == "I would like a table"
    assert call.state.until == 300


def test_a_question_and_its_answer() -> None:
    call = Told()
    assert (call.state.busy, call.state.agent_state) == (False, "listening")
    call(events.SpeechStarted(utterance=0, start_sample=1_000))
    assert (call.state.busy, call.state.agent_state, call.state.caller_speaks) == (True, "listening", True)
    call(events.SpeechEnded(utterance=0, until_sample=9_000))
    assert (call.state.busy, call.state.agent_state) == (True, "thinking")
    call(events.TranscriptFinal(utterance=0, text="when do you open", start_sample=1_000, until_sample=9_000))
    assert call.state.busy, "words that nobody has answered yet"
    assert call.state.until == 9_000
    call(events.TurnStarted(turn=2, answers=0, text="when do you open", time=7))
    assert call.state.agent_state == "thinking"
    call(events.SentenceReady(turn=2, segment=0, text="At nine.", last=True))
    call(events.PlaybackStarted(turn=2, time=8))
    assert (call.state.agent_state, call.state.speaking) == ("speaking", 2)
    call(events.PlaybackEnded(turn=2, heard_ms=900))
    call(events.TurnEnded(turn=2, heard="At nine."))
    assert (call.state.busy, call.state.agent_state) == (False, "listening")
    assert call.state.transcript == [
        TranscriptEntry("caller", "when do you open", 0),
        TranscriptEntry("agent", "At nine.", 2),
    ]


def test_a_greeting_is_pending_until_the_agent_has_said_it() -> None:
    call = Told(config={"id": "desk", "greeting": "Hello."})
    assert call.state.busy
    answered(call, 1, -1, "Hello.")
    assert not call.state.busy


def test_a_caller_who_is_faster_than_the_greeting_is_not_waited_for_twice() -> None:
    call = Told(config={"id": "desk", "greeting": "Hello."})
    asked(call, 0, "hi")
    answered(call, 2, 0, "Hi.")
    assert not call.state.busy


def test_a_noise_without_words_leaves_nothing_pending() -> None:
    call = Told()
    asked(call, 0, "")
    assert not call.state.busy


def test_a_backchannel_leaves_nothing_pending() -> None:
    call = Told()
    asked(call, 0, "mhm")
    assert call.state.busy
    call(events.ReplyResumed(turn=2, utterance=0))
    assert not call.state.busy


def test_a_cough_holds_the_answer_and_it_goes_on() -> None:
    call = Told()
    asked(call, 0, "prices please")
    call(
        events.TurnStarted(turn=2, answers=0, time=7),
        events.PlaybackStarted(turn=2, time=8),
        events.SpeechStarted(utterance=1, start_sample=20_000),
        events.Paused(turn=2, segment=0, heard_ms=400, utterance=1),
    )
    assert (call.state.agent_state, call.state.turns[2].playback) == ("listening", "paused")
    call(
        events.SpeechEnded(utterance=1, until_sample=23_000),
        events.TranscriptFinal(utterance=1, text="", start_sample=20_000, until_sample=23_000),
        events.ReplyResumed(turn=2, utterance=1),
        events.Resumed(turn=2, heard_ms=400, utterance=1),
    )
    assert (call.state.agent_state, call.state.turns[2].heard_ms) == ("speaking", 400)


def test_a_hold_before_the_first_sample_does_not_make_the_turn_speak() -> None:
    call = Told()
    call(
        events.TurnStarted(turn=2, answers=0, time=7),
        events.Paused(turn=2, segment=0, heard_ms=0, utterance=1),
        events.Resumed(turn=2, heard_ms=0, utterance=1),
    )
    assert call.state.turns[2].playback == "waiting"
    assert call.state.agent_state == "thinking"


def test_a_hold_while_nothing_plays_is_no_turn() -> None:
    call = Told()
    call(events.Paused(turn=0, segment=0, heard_ms=0, utterance=0), events.Resumed(turn=0, heard_ms=0, utterance=0))
    assert call.state.turns == {}


def test_an_interrupted_answer_is_kept_as_far_as_it_was_heard() -> None:
    call = Told()
    asked(call, 0, "tell me everything")
    call(
        events.TurnStarted(turn=2, answers=0, time=7),
        events.SentenceReady(turn=2, segment=0, text="We open at nine and close at six."),
        events.PlaybackStarted(turn=2, time=8),
        events.Paused(turn=2, segment=0, heard_ms=500, utterance=1),
        events.TurnCancelled(turn=2),
    )
    asked(call, 1, "stop")
    call(
        events.PlaybackEnded(turn=2, heard_ms=500, interrupted=True),
        events.TurnEnded(turn=2, heard="We open", interrupted=True),
    )
    answered(call, 3, 1, "Of course.")
    assert [line.text for line in call.state.transcript] == ["tell me everything", "We open", "stop", "Of course."]
    assert (call.state.turns[2].cancelled, call.state.turns[2].interrupted) == ("interrupted", True)
    assert call.state.turns[2].reply == "We open at nine and close at six."


def test_what_was_said_meanwhile_stands_where_it_was_said() -> None:
    call = Told()
    asked(call, 0, "a question")
    answered(call, 2, 0, "A long answer.")
    asked(call, 1, "mhm")
    asked(call, 2, "another")
    answered(call, 3, 2, "Another answer.")
    said = [(line.who, line.number) for line in call.state.transcript]
    assert said == [("caller", 0), ("agent", 2), ("caller", 1), ("caller", 2), ("agent", 3)]


def test_a_closed_call_is_never_busy() -> None:
    call = Told()
    call(
        events.SpeechStarted(utterance=0, start_sample=0),
        events.PlaybackStarted(turn=2),
        events.SessionClosed(reason="hangup"),
    )
    assert (call.state.closed, call.state.busy, call.state.agent_state) == ("hangup", False, "listening")


def test_what_an_old_owner_says_after_it_was_replaced_is_dead() -> None:
    call = Told()
    call(events.OwnerChanged(stage="stt", worker="stt-b", owner_epoch=2))
    before = call.state
    call(events.TranscriptFinal(utterance=0, text="from the grave", start_sample=0, until_sample=9), epoch=1)
    assert call.state == before
    call(events.TranscriptFinal(utterance=0, text="alive", start_sample=0, until_sample=9), epoch=2)
    assert call.state.utterances[0].text == "alive"
    assert call.state.owners["stt"] == Owner("stt-b", 2)
    assert call.state.after["stt"] == (2, 0)


def test_an_interim_is_not_part_of_the_snapshot() -> None:
    call = Told()
    before = call.state
    call(events.TranscriptInterim(utterance=0, text="when do", start_sample=0, until_sample=9))
    assert call.state == before


def test_the_snapshot_travels() -> None:
    call = Told(config={"id": "desk", "greeting": "Hello."})
    asked(call, 0, "when")
    answered(call, 2, 0, "At nine.")
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(call.state), type=SessionState) == call.state


def test_a_long_call_stays_small() -> None:
    call = Told()
    for turn in range(2, 2 + KEEP * 2):
        asked(call, turn, "word " * 20)
        answered(call, turn, turn, "word " * 40)
    for segment in range(KEEP_SEGMENTS * 2):
        call(events.SentenceReady(turn=2 * KEEP + 1, segment=segment, text="word"))
    assert len(call.state.turns) == len(call.state.utterances) == KEEP
    assert max(call.state.turns) == 2 * KEEP + 1
    assert sum(bool(turn.segments) for turn in call.state.turns.values()) == KEEP_SPOKEN
    assert len(call.state.turns[2 * KEEP + 1].segments) == KEEP_SEGMENTS
    assert len(msgspec.msgpack.encode(call.state)) < 200_000


def test_a_caller_who_types_pages_fits_into_a_message_too() -> None:
    call = Told()
    page = "\N{BELL}" * 2_000
    for number in range(1, KEEP * 2):
        call(events.TextReceived(text=page, number=number), events.TurnStarted(turn=number + 1, answers=-1, text=page))
    assert max(call.state.texts) == KEEP * 2 - 1
    assert len(call.state.texts) == KEEP_TEXTS
    assert len(msgspec.msgpack.encode(call.state)) < 800_000


@pytest.mark.parametrize(("sign", "beside"), [("x", MAX_DOCUMENT_BYTES), ("\N{BELL}", 0)])
def test_a_snapshot_fits_into_a_message_whatever_is_said(sign: str, beside: int) -> None:
    """Pages are said and typed, and the agent answers each with all that a reply may hold."""
    call = Told(config={"prompt": "x" * 100_000})
    page, reply = sign * 2_000, sign * 4_000
    for number in range(1, KEEP * 2):
        call(events.TextReceived(text=page, number=number), events.TurnStarted(turn=number + 1, answers=-1, text=page))
        asked(call, number, page)
        call(
            events.SentenceReady(turn=number + 1, segment=0, text=reply, last=True),
            events.TurnEnded(turn=number + 1, heard=reply),
        )
    assert len(dump(call.state)) + beside < 1_000_000


def test_parts_of_a_transcript_are_joined_and_the_last_one_makes_it_final() -> None:
    call = Told()
    call(events.SpeechStarted(utterance=0, start_sample=0))
    first = events.TranscriptFinal(utterance=0, text="when do", start_sample=0, until_sample=100, last=False)
    call(first, events.SpeechEnded(utterance=0, until_sample=300))
    assert (call.state.utterances[0].text, call.state.utterances[0].final) == ("when do", False)
    assert call.state.busy
    empty = events.TranscriptFinal(utterance=0, text="", start_sample=100, until_sample=200, part=1, last=False)
    last = events.TranscriptFinal(utterance=0, text="you open", start_sample=200, until_sample=300, part=2, time=9)
    call(empty, msgspec.structs.replace(last, end_of_turn=True))
    said = call.state.utterances[0]
    assert (said.text, said.final, said.final_time, said.parts) == ("when do you open", True, 9, 3)
    assert (said.until, said.end_of_turn) == (300, True)


def test_a_changed_configuration_replaces_the_document_and_a_snapshot_leaves_it_to_start() -> None:
    call = Told(config={"id": "desk", "greeting": "Hello."})
    assert (call.state.config, call.state.config_version) == ({"id": "desk", "greeting": "Hello."}, 0)
    call(events.ConfigChanged(version=4, config={"id": "desk", "prompt": "Be kind."}, applies="next_turn"))
    assert call.state.config == {"id": "desk", "prompt": "Be kind."}
    assert (call.state.config_version, call.state.applies) == (4, "next_turn")
    assert call.state.greets, "the greeting of this session was the old document's"
    assert load(dump(call.state)) == msgspec.structs.replace(call.state, config={})


def test_a_takeover_keeps_its_cut_and_the_clock_of_the_new_owner() -> None:
    call = Told(clock_offset_us={"stt": 5, "llm": 7})
    call(events.OwnerChanged(stage="stt", worker="stt-b", owner_epoch=2, cut=(1, 3), clock_offset_us=-40))
    assert call.state.cuts == {"stt": (1, 3)}
    assert call.state.clock_offset_us == {"stt": -40, "llm": 7}


def test_word_times_are_kept_until_the_turn_is_history() -> None:
    words = (Word("At", 0, 200), Word("nine.", 200, 600))
    made = events.SegmentSynthesized(turn=2, segment=0, duration_ms=600, words=words)
    for ends_first in (False, True):
        call = Told()
        call(events.TurnStarted(turn=2, answers=0), events.SentenceReady(turn=2, segment=0, text="At nine."))
        if not ends_first:
            call(made)
            assert call.state.turns[2].segments[0].words == words
        call(events.TurnEnded(turn=2, heard="At nine."))
        if ends_first:
            call(made)
        assert call.state.turns[2].segments[0] == Segment("At nine.", 600)


def test_what_was_typed_stands_where_it_was_answered() -> None:
    call = Told()
    asked(call, 0, "When?")
    answered(call, 2, 0, "At nine.", heard="At nine.")
    call(events.TextReceived(text="And on Sunday?", number=1))
    assert call.state.busy
    assert call.state.agent_state == "thinking"
    call(
        events.TurnStarted(turn=3, answers=0, typed=1, text="And on Sunday?"),
        events.TurnEnded(turn=3, heard="Never."),
        events.TextReceived(text="Thanks", number=2),
    )
    assert call.state.transcript == [
        TranscriptEntry("caller", "When?", 0),
        TranscriptEntry("agent", "At nine.", 2),
        TranscriptEntry("caller", "And on Sunday?", 1, typed=True),
        TranscriptEntry("agent", "Never.", 3),
        TranscriptEntry("caller", "Thanks", 2, typed=True),
    ]


# --- in every order -----------------------------------------------------------------------------------------------

few = st.integers(0, 3)
far = st.sampled_from(
    [0, 1, 2, 3, 4, KEEP_SPOKEN + 1, KEEP_UTTERANCES, KEEP_HISTORY, KEEP_HISTORY + 1, KEEP - 1, KEEP, KEEP + 2]
)  # turns near every edge of what is kept
words = st.sampled_from(["", "yes", "no"])
long = st.sampled_from(["", "yes", "no" * 200, "o" * KEEP_HISTORY_CHARACTERS])
missing = st.sampled_from([(), (events.Missing(0, "yes"),)])

SPEAKERS: dict[str, st.SearchStrategy[Event]] = {
    "ingress": st.one_of(
        st.builds(events.OwnerChanged, stage=st.just("stt"), worker=words, owner_epoch=st.just(1)),
        st.builds(events.TextReceived, text=long, number=far),
        st.builds(events.ConfigChanged, version=few, config=st.just({"id": "desk"}), applies=st.just("now")),
    ),
    "stt": st.one_of(
        st.builds(events.SpeechStarted, utterance=far, start_sample=few),
        st.builds(events.SpeechEnded, utterance=far, until_sample=few),
        st.builds(
            events.TranscriptFinal,
            utterance=far,
            text=long,
            start_sample=few,
            until_sample=few,
            part=few,
            last=st.booleans(),
        ),
    ),
    "llm": st.one_of(
        st.builds(events.TurnStarted, turn=far, answers=far, typed=far, text=long, missing=missing),
        st.builds(events.SentenceReady, turn=far, segment=few, text=words, first_token_ms=st.none() | few),
        st.builds(events.ReplyResumed, utterance=far, missing=missing),
        st.builds(events.EchoRemoved, utterance=far, characters=st.integers(0, 60), text=st.text(max_size=60)),
        st.builds(events.TurnCancelled, turn=far, carried=st.booleans()),
        st.builds(events.TurnEnded, turn=far, heard=long),
    ),
    "tts": st.builds(
        events.SegmentSynthesized,
        turn=far,
        segment=few,
        duration_ms=few,
        first_audio_ms=few,
        words=st.sampled_from([(), (Word("yes", 0, 1),)]),
    ),
    "egress": st.one_of(
        st.builds(events.PlaybackStarted, turn=far),
        st.builds(events.Paused, turn=far, segment=few, heard_ms=few, utterance=few),
        st.builds(
            events.Resumed, turn=far, heard_ms=few, utterance=few, reason=st.sampled_from(["decided", "timeout"])
        ),
        st.builds(events.PlaybackEnded, turn=far, heard_ms=few),
    ),
}


@st.composite
def speakers(draw: st.DrawFn) -> list[list[Event]]:
    """What each stage says in a call, in its own order."""
    said = {stage: draw(st.lists(call_events, max_size=8)) for stage, call_events in SPEAKERS.items()}
    said["ingress"].insert(0, opened())
    return [numbered(call_events) for call_events in said.values()]


@st.composite
def interleaved(draw: st.DrawFn, lines: list[list[Event]]) -> list[Event]:
    """The speakers' events in one of the orders a receiver may see."""
    rest = [list(line) for line in lines if line]
    merged: list[Event] = []
    while rest:
        line = rest[draw(st.integers(0, len(rest) - 1))]
        merged.append(line.pop(0))
        rest = [line for line in rest if line]
    return merged


def folded(call_events: list[Event]) -> SessionState:
    state = SessionState()
    for event in call_events:
        state = fold(state, event)
    return state


@given(st.data())
def test_however_the_speakers_interleave_the_call_is_the_same(data: st.DataObject) -> None:
    lines = data.draw(speakers())
    one, other = (folded(data.draw(interleaved(lines))) for _ in range(2))
    assert one == other
    assert msgspec.msgpack.encode(one) == msgspec.msgpack.encode(other)


@given(st.data())
def test_a_fact_heard_twice_changes_nothing(data: st.DataObject) -> None:
    call_events = data.draw(interleaved(data.draw(speakers())))
    repeated = []
    for index, event in enumerate(call_events):
        repeated += [event, *data.draw(st.lists(st.sampled_from(call_events[: index + 1]), max_size=2))]
    assert folded(repeated) == folded(call_events)


@given(st.data())
def test_the_dead_change_nothing(data: st.DataObject) -> None:
    """Once ingress has said who owns a stage, events of older epochs fall silent wherever they arrive."""
    lines = data.draw(speakers())
    call_events = lines[0] + data.draw(interleaved(lines[1:]))
    dead = [msgspec.structs.replace(event, epoch=0) for line in lines[1:] for event in line]
    haunted = list(call_events)
    for event in dead:
        haunted.insert(data.draw(st.integers(1, len(haunted))), event)
    assert folded(haunted) == folded(call_events)


@given(st.data(), st.integers(0, 40))
def test_a_snapshot_and_the_facts_after_it_are_the_whole_call(data: st.DataObject, cut: int) -> None:
    call_events = data.draw(interleaved(data.draw(speakers())))
    snapshot = msgspec.msgpack.decode(msgspec.msgpack.encode(folded(call_events[:cut])), type=SessionState)
    state = snapshot
    for event in call_events:  # all of them again: the snapshot knows which it holds
        state = fold(state, event)
    assert state == folded(call_events)


@pytest.mark.parametrize("event", [event for event in events.EVENTS if event not in events.EPHEMERAL])
def test_every_fact_moves_its_speakers_watermark(event: type[Event]) -> None:
    """An event that the fold has no field for is still counted as known."""
    required = {name: value for name, value in SAMPLE.items() if name in event.__struct_fields__}
    said = event(**required, epoch=1, seq=4, turn=2)
    assert fold(SessionState(), said).after == {events.stage(event): (1, 4)}


SAMPLE: dict[str, Any] = {
    "owners": {},
    "coordinator": "in1",
    "transport": "null",
    "started_us": 1,
    "config": {},
    "stage": "stt",
    "worker": "w",
    "owner_epoch": 1,
    "reason": "hangup",
    "utterance": 0,
    "at_sample": 0,
    "probability": 0.5,
    "source": "audio",
    "version": 1,
    "applies": "now",
    "text": "",
    "digit": "1",
    "number": 1,
    "start_sample": 0,
    "until_sample": 0,
    "answers": 0,
    "segment": 0,
    "heard": "",
    "duration_ms": 1,
    "heard_ms": 1,
    "provider": "local",
    "kind": "server",
    "message": "",
}
