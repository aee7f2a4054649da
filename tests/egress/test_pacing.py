"""What the caller hears, and what egress says they heard: always the same."""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.audio import AGENT_HZ, SAMPLE_BYTES, samples_to_ms
from schemas.events import Paused, PlaybackEnded, PlaybackStarted, Resumed
from schemas.media import Flag
from stages.egress.pacing import DECIDE_WITHIN_MS, MAX_WAITING_MS
from tests.egress.room import TRANSIT_MS, Room

JITTER_MS = 7.0  # transit may differ by this much without changing what is heard


def ms_of(pcm: bytes) -> int:
    return samples_to_ms(len(pcm) // SAMPLE_BYTES, AGENT_HZ)


def test_an_answer_is_heard_whole_and_ends_when_its_last_frame_has_sounded() -> None:
    room = Room()
    room.answer(1_000)
    room.run(999)
    assert not room.published(PlaybackEnded)
    room.run(30)
    assert room.words() == room.sent[2]
    assert room.published(PlaybackEnded) == [PlaybackEnded(turn=2, heard_ms=1_000)]
    assert not room.pacing.playing


def test_the_first_audio_goes_out_at_once() -> None:
    room = Room()
    room.run(7)
    room.start(2, 0)
    room.audio(20)
    assert room.heard()[0].arrived == 7 + TRANSIT_MS
    assert room.published(PlaybackStarted) == [PlaybackStarted(turn=2)]


def test_the_caller_speaks_and_hears_at_most_one_more_frame_and_a_half() -> None:
    for after in range(200, 240):
        room = Room()
        room.answer(1_000)
        room.run(after)
        room.hold(1)
        room.run(500)
        last = room.heard()[-1]
        assert last.began + 20 - after - TRANSIT_MS <= 30
        assert room.published(Paused) == [Paused(turn=2, segment=0, heard_ms=ms_of(room.words()), utterance=1)]


def test_a_cough_does_not_cost_a_sample() -> None:
    room = Room()
    room.answer(1_000)
    room.run(333)
    room.hold(1)
    room.run(700)
    held = ms_of(room.words())
    room.resume(1)
    room.run(1_000)
    assert room.words() == room.sent[2]
    assert room.published(Resumed) == [Resumed(turn=2, heard_ms=held, utterance=1, reason="decided")]
    assert room.published(PlaybackEnded) == [PlaybackEnded(turn=2, heard_ms=1_000)]


def test_a_decision_within_the_same_frame_still_says_both() -> None:
    room = Room()
    room.answer(1_000)
    room.run(333)
    room.hold(1)
    room.resume(1)
    room.run(1_200)
    assert [type(event) for event in room.events] == [PlaybackStarted, Paused, Resumed, PlaybackEnded]
    assert room.words() == room.sent[2]


def test_a_late_decision_about_an_earlier_utterance_never_unmutes_over_a_caller() -> None:
    room = Room()
    room.answer(1_000)
    room.run(200)
    room.hold(1)
    room.run(100)
    room.hold(2)
    room.resume(1)
    room.start(3, answers=1)
    room.audio(100, turn=3)
    room.run(2_000)
    assert not room.words(3)
    room.resume(2)
    room.run(1)
    assert room.words(3)


def test_a_hold_that_comes_after_its_decision_does_not_mute() -> None:
    room = Room()
    room.start(2, answers=1)
    room.hold(1)
    room.audio(100)
    assert room.heard()


def test_a_hold_is_kept_when_nothing_plays() -> None:
    room = Room()
    room.hold(0)
    assert room.published(Paused) == [Paused(turn=0, segment=0, heard_ms=0, utterance=0)]
    room.answer(200, turn=1, answers=-1)
    room.run(500)
    assert not room.heard()
    room.resume(0)
    room.run(300)
    assert room.words(1) == room.sent[1]


def test_the_answer_to_the_utterance_that_held_lifts_the_hold() -> None:
    room = Room()
    room.hold(0)
    room.answer(200, turn=2, answers=0)
    assert room.heard()
    assert not room.published(Resumed)


def test_without_a_decision_the_answer_goes_on_by_itself() -> None:
    room = Room()
    room.answer(1_000)
    room.run(200)
    room.hold(1)
    room.run(10_000)
    assert not room.published(Resumed)
    room.fell_silent(1)
    room.run(DECIDE_WITHIN_MS - 1)
    assert not room.published(Resumed)
    room.run(1)
    assert room.published(Resumed)[0].reason == "timeout"
    room.run(1_000)
    assert room.words() == room.sent[2]


def test_a_caller_who_speaks_again_is_given_the_time_again() -> None:
    room = Room()
    room.answer(1_000)
    room.hold(1)
    room.fell_silent(1)
    room.run(2_500)
    room.hold(2)
    room.run(2_500)
    assert not room.published(Resumed)


def test_a_cancelled_turn_ends_with_what_was_heard_of_it() -> None:
    room = Room()
    room.answer(1_000)
    room.run(333)
    room.cancel(2)
    room.cancel(2)
    room.run(500)
    assert room.published(PlaybackEnded) == [PlaybackEnded(turn=2, heard_ms=ms_of(room.words()), interrupted=True)]
    assert room.words() == room.sent[2][: len(room.words())]


def test_a_new_turn_cancels_the_one_before_and_waits_for_its_last_frame() -> None:
    room = Room()
    room.answer(1_000)
    room.run(333)
    room.answer(300, turn=3, answers=1)
    room.run(1_000)
    assert [(end.turn, end.interrupted) for end in room.published(PlaybackEnded)] == [(2, True), (3, False)]
    assert ms_of(room.words(2)) == room.published(PlaybackEnded)[0].heard_ms
    assert room.words(3) == room.sent[3]


def test_a_turn_heard_to_its_end_was_not_interrupted_by_the_next() -> None:
    room = Room()
    room.answer(95)
    room.now += 110  # a busy event loop: nothing ticked meanwhile
    room.start(3, 1)
    assert room.published(PlaybackEnded) == [PlaybackEnded(turn=2, heard_ms=95)]


def test_audio_that_overtakes_its_turn_waits_for_it() -> None:
    room = Room()
    for _ in range(3):
        room.audio(100, turn=2)
    assert not room.heard()
    room.start(2, 0)
    room.run(400)
    assert room.words() == room.sent[2]


def test_what_waits_is_bounded() -> None:
    room = Room()
    for _ in range(100):
        room.audio(100, turn=2)
    assert ms_of(room.sent[2]) == MAX_WAITING_MS


def test_a_turn_that_never_sounded_ends_too() -> None:
    room = Room()
    room.start(2, 0)
    room.start(3, 1)
    room.audio(0, turn=3, flags=Flag.LAST_OF_SEGMENT | Flag.LAST_OF_TURN)
    assert room.events == [PlaybackEnded(turn=2, heard_ms=0, interrupted=True), PlaybackEnded(turn=3, heard_ms=0)]


def test_a_segment_that_is_no_whole_frame_is_padded_and_the_padding_is_not_counted() -> None:
    room = Room()
    room.start(2, 0)
    room.audio(50, segment=0, flags=Flag.LAST_OF_SEGMENT)
    room.audio(30, segment=1, flags=Flag.LAST_OF_SEGMENT | Flag.LAST_OF_TURN)
    room.run(300)
    assert [heard.piece.segment for heard in room.heard()] == [0, 0, 0, 1, 1]
    assert {len(heard.piece.pcm) for heard in room.heard()} == {960}
    assert room.words() == room.sent[2]
    assert room.published(PlaybackEnded)[0].heard_ms == 80


def test_a_voice_that_is_too_slow_leaves_a_hole_and_the_clock_starts_anew() -> None:
    room = Room()
    room.start(2, 0)
    room.audio(100)
    room.run(500)
    room.audio(100, flags=Flag.LAST_OF_SEGMENT | Flag.LAST_OF_TURN)
    room.run(300)
    assert room.pacing.underruns == 1
    assert room.words() == room.sent[2]
    assert room.heard()[5].began == 500 + TRANSIT_MS
    assert room.published(PlaybackEnded)[0].heard_ms == 200


def test_a_call_that_closes_ends_every_turn() -> None:
    room = Room()
    room.answer(1_000)
    room.audio(100, turn=3)
    room.run(333)
    room.close()
    assert room.published(PlaybackEnded) == [
        PlaybackEnded(turn=2, heard_ms=340, interrupted=True),
        PlaybackEnded(turn=3, heard_ms=0, interrupted=True),
    ]


STEPS = st.lists(
    st.tuples(
        st.sampled_from("audio audio audio segment early end hold hold silent resume resume old start cancel".split()),
        st.sampled_from([0, 1, 3, 10, 19, 20, 33, 150, 700]),
    ),
    min_size=10,
    max_size=50,
)


def live_through(room: Room, steps: list[tuple[str, int]], random: Random) -> int:
    """Do what `steps` say, with so many milliseconds after each; returns the last turn."""
    turn, segment, utterance = 2, 0, 0
    room.start(turn, 0)
    for step, wait in steps:
        if step == "audio":
            for _ in range(random.randint(1, 5)):
                room.audio(random.choice([5, 20, 37.5, 100, 100]), turn, segment)
        elif step == "segment":
            room.audio(10, turn, segment, Flag.LAST_OF_SEGMENT)
            segment += 1
        elif step == "early":
            room.audio(40, turn + 1)
        elif step == "hold":
            utterance += 1
            room.hold(utterance)
        elif step == "silent":
            room.fell_silent(utterance)
        elif step == "resume":
            room.resume(utterance)
        elif step == "old":
            room.resume(utterance - 1)
        else:
            if step == "end":
                room.audio(0, turn, segment, Flag.LAST_OF_SEGMENT | Flag.LAST_OF_TURN)
                room.run(wait)
            elif step == "cancel":
                room.cancel(turn)
            turn, segment = turn + 1, 0
            room.start(turn, utterance - random.choice([0, 0, 1]))
        room.run(wait)
    return turn


@settings(max_examples=300, deadline=None)
@given(STEPS, st.randoms(use_true_random=True))
def test_nothing_is_repeated_skipped_or_reordered_whatever_happens(
    steps: list[tuple[str, int]], random: Random
) -> None:
    room = Room(jitter=lambda: random.uniform(0, JITTER_MS))
    last = live_through(room, steps, random)
    room.cancel(last + 1)
    room.run(40)
    assert not room.pacing.playing

    assert all(heard.began - heard.arrived <= 100 for heard in room.heard())  # never more than that ahead
    ends = {end.turn: end for end in room.published(PlaybackEnded)}
    assert len(ends) == len(room.published(PlaybackEnded))
    assert set(ends) == set(range(2, last + 1)) | set(room.sent)
    for turn, end in ends.items():
        told = [event.heard_ms for event in room.events if event.turn == turn and isinstance(event, Paused | Resumed)]
        assert [*told, end.heard_ms] == sorted([*told, end.heard_ms])
        words, sent = room.words(turn), room.sent.get(turn, b"")
        assert sent.startswith(words)
        assert ms_of(words) == end.heard_ms
        if not end.interrupted:
            assert len(words) == len(sent)


@pytest.mark.parametrize("late_ms", [0, 5, 13])
def test_a_timer_that_fires_late_waits_for_the_next_frame_rather_than_guess(late_ms: int) -> None:
    room = Room()
    room.answer(1_000)
    room.run(333)
    room.pacing.hold(1)
    wake = room.pacing.wake_ms(room.now)
    assert wake is not None
    room.now = round(wake) + late_ms
    room.advance()
    room.run(100)
    assert room.published(Paused)[0].heard_ms == ms_of(room.words())
