"""The gate: duplicates, reorderings, dead epochs and cancelled turns never reach a stage."""

from hypothesis import given
from hypothesis import strategies as st

from schemas.events import (
    Event,
    Owner,
    OwnerChanged,
    PlaybackEnded,
    SegmentSynthesized,
    SentenceReady,
    SessionOpened,
    SpeechStarted,
    TranscriptInterim,
    TurnCancelled,
    TurnStarted,
)
from schemas.media import Frame
from session.gate import DEAD_EPOCH, REPEATED, STALE_TURN, Gate


def speech(seq: int, epoch: int = 1) -> Event:
    return SpeechStarted(utterance=seq, start_sample=0, epoch=epoch, seq=seq)


def sentence(seq: int, turn: int, epoch: int = 1) -> Event:
    return SentenceReady(turn=turn, segment=0, text="Hello.", epoch=epoch, seq=seq)


def frame(seq: int, turn: int = 0, epoch: int = 1) -> Frame:
    return Frame(b"", epoch, seq, 24_000, turn=turn)


messages = st.lists(st.tuples(st.integers(1, 4), st.integers(0, 30)), max_size=60)  # epoch, seq


@given(messages)
def test_what_is_heard_of_one_speaker_is_in_order_and_never_twice(said: list[tuple[int, int]]) -> None:
    """Whatever the bus repeats or reorders."""
    gate = Gate()
    heard = [(epoch, seq) for epoch, seq in said if gate.event(speech(seq, epoch)) is None]
    assert heard == sorted(set(heard))


@given(st.integers(1, 30), st.data())
def test_repeating_everything_loses_nothing(count: int, data: st.DataObject) -> None:
    gate, heard = Gate(), []
    for seq in range(count):
        for _ in range(data.draw(st.integers(1, 3))):
            if gate.event(speech(seq)) is None:
                heard.append(seq)
        old = data.draw(st.integers(0, seq))
        assert gate.event(speech(old)) == REPEATED
    assert heard == list(range(count))
    assert gate.gaps == 0


@given(messages, st.integers(1, 5))
def test_a_new_owner_silences_the_old_one_for_good(said: list[tuple[int, int]], epoch: int) -> None:
    gate = Gate()
    assert gate.event(OwnerChanged(stage="stt", worker="w", owner_epoch=epoch)) is None
    for old, seq in said:
        refused = gate.event(speech(seq, old))
        assert refused == DEAD_EPOCH if old < epoch else refused != STALE_TURN


def test_a_takeover_of_one_stage_does_not_silence_another() -> None:
    gate = Gate()
    gate.event(OwnerChanged(stage="stt", worker="w", owner_epoch=9))
    assert gate.frame("tts", frame(0, turn=2, epoch=4)) is None
    assert gate.event(speech(0, epoch=4)) == DEAD_EPOCH


def test_floors_never_fall() -> None:
    gate = Gate()
    gate.event(OwnerChanged(stage="tts", worker="new", owner_epoch=5, seq=1))
    gate.raise_minimum("tts", 2)
    assert gate.frame("tts", frame(0, epoch=4)) == DEAD_EPOCH


def test_the_owners_of_an_opened_session_are_floors() -> None:
    gate = Gate()
    owners = {"stt": Owner("w1", 2), "tts": Owner("w2", 4)}
    gate.event(SessionOpened(owners=owners, coordinator="i", transport="null", started_us=0, config={}))
    assert gate.frame("tts", frame(0, epoch=3)) == DEAD_EPOCH
    assert gate.event(speech(0, epoch=2)) is None


def test_a_new_owner_counts_from_zero() -> None:
    gate = Gate()
    for seq in range(10):
        gate.event(speech(seq, epoch=1))
    assert gate.event(speech(0, epoch=2)) is None
    assert gate.event(speech(10, epoch=1)) == DEAD_EPOCH


def test_facts_live_messages_and_frames_are_counted_apart() -> None:
    gate = Gate()
    assert gate.event(speech(0)) is None
    assert gate.event(TranscriptInterim(utterance=0, text="", start_sample=0, until_sample=0, epoch=1, seq=0)) is None
    assert gate.frame("stt", frame(0)) is None


@given(st.lists(st.integers(1, 6), max_size=30), st.integers(1, 6))
def test_no_sentence_or_sound_of_a_cancelled_turn_passes(turns: list[int], cancelled: int) -> None:
    gate = Gate()
    assert gate.event(TurnCancelled(turn=cancelled, epoch=1, seq=0)) is None
    for seq, turn in enumerate(turns):
        expected = STALE_TURN if turn <= cancelled else None
        assert gate.event(sentence(seq + 1, turn)) == expected
        assert gate.frame("tts", frame(seq, turn)) == expected


@given(st.permutations([TurnStarted(turn=t, answers=0, epoch=1) for t in (1, 2, 3)]))
def test_a_started_turn_cancels_those_below_in_whatever_order_it_is_told(started: list[TurnStarted]) -> None:
    gate = Gate()
    for seq, event in enumerate(started):
        gate.event(TurnStarted(turn=event.turn, answers=0, epoch=1, seq=seq))
    assert gate.frame("tts", frame(0, turn=2)) == STALE_TURN
    assert gate.frame("tts", frame(1, turn=3)) is None


def test_reports_of_a_cancelled_turn_are_heard_because_history_needs_them() -> None:
    gate = Gate()
    gate.event(TurnCancelled(turn=5, epoch=1))
    assert gate.event(PlaybackEnded(turn=2, heard_ms=400, epoch=1)) is None
    assert gate.event(SegmentSynthesized(turn=2, segment=0, duration_ms=900, epoch=1)) is None


def test_the_caller_has_no_turn_and_is_always_heard() -> None:
    gate = Gate()
    gate.event(TurnCancelled(turn=5, epoch=1))
    assert gate.frame("ingress", frame(0, turn=0)) is None


def test_a_dead_decision_cancels_nothing() -> None:
    gate = Gate()
    gate.event(OwnerChanged(stage="llm", worker="w", owner_epoch=3))
    assert gate.event(TurnCancelled(turn=9, epoch=2)) == DEAD_EPOCH
    assert gate.frame("tts", frame(0, turn=4)) is None


def test_a_sentence_that_waits_becomes_stale_when_its_turn_is_cancelled() -> None:
    gate = Gate()
    waiting = sentence(0, turn=2)
    assert gate.event(waiting) is None
    assert not gate.stale(waiting)
    gate.event(TurnCancelled(turn=2, epoch=1, seq=1))
    assert gate.stale(waiting)


@given(st.integers(0, 20), st.integers(0, 20))
def test_what_the_snapshot_holds_is_not_heard_again(known: int, seq: int) -> None:
    gate = Gate()
    gate.start_after({"stt": (1, known)})
    assert gate.event(speech(seq)) == (REPEATED if seq <= known else None)
    assert gate.event(speech(0, epoch=2)) is None


def test_what_never_came_is_counted() -> None:
    gate = Gate()
    for seq in (0, 1, 5, 6):
        gate.event(speech(seq))
    assert gate.gaps == 3
