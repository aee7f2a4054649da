"""Speech or silence from probabilities alone."""

from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st

from schemas.audio import CALLER_HZ
from stages.stt.voice_activity import MIN_SPEECH, SILENCE, UNREAD, WINDOW, Offset, Onset, VoiceActivity

SPEECH, BETWEEN, QUIET = 0.9, 0.42, 0.05  # BETWEEN lies between OFF and ON

probabilities = st.lists(st.floats(0, 1), max_size=200)


def listen(windows: Iterable[float], start: int = 0) -> list[Onset | Offset]:
    activity = VoiceActivity()
    changes = [activity.step(probability, start + index * WINDOW) for index, probability in enumerate(windows)]
    return [change for change in changes if change is not None]


def test_a_word_begins_at_its_first_window_and_ends_after_its_last() -> None:
    changes = listen([QUIET] * 3 + [SPEECH] * 10 + [QUIET] * 10, start=1_000)
    assert changes == [
        Onset(1_000 + 3 * WINDOW),
        Offset(1_000 + 13 * WINDOW, silence=8 * WINDOW, voiced=10 * WINDOW),
    ]


def test_a_click_of_one_window_is_no_speech() -> None:
    assert listen([QUIET, SPEECH, QUIET] * 20) == []


def test_speech_begins_with_its_second_window() -> None:
    assert listen([QUIET, SPEECH, SPEECH]) == [Onset(WINDOW)]


def test_a_probability_between_the_thresholds_starts_nothing_and_ends_nothing() -> None:
    assert listen([BETWEEN] * 50) == []
    assert listen([SPEECH] * 2 + [BETWEEN] * 50) == [Onset(0)]


def test_it_is_known_beforehand_which_window_may_decide() -> None:
    activity = VoiceActivity()
    decides = []
    for index, probability in enumerate([QUIET] * 2 + [SPEECH] * 3 + [QUIET] * 9):
        undecided = activity.undecided
        if activity.step(probability, index * WINDOW):
            decides.append(index)
        assert undecided == (index in (3, 12))
    assert decides == [3, 12]


def test_a_gap_between_two_syllables_ends_nothing() -> None:
    assert listen([SPEECH] * 5 + [QUIET] * 7 + [SPEECH] * 5) == [Onset(0)]


def test_speech_before_a_hole_in_the_line_ends_where_it_was_last_heard() -> None:
    activity = VoiceActivity()
    activity.step(SPEECH, 0)
    activity.step(SPEECH, WINDOW)
    assert activity.step(QUIET, 100_000) == Offset(2 * WINDOW, 100_000 - WINDOW, 2 * WINDOW)


def test_one_window_on_each_side_of_a_hole_is_no_speech() -> None:
    activity = VoiceActivity()
    assert activity.step(SPEECH, 0) is None
    assert activity.step(SPEECH, 100_000) is None


def test_a_hang_up_ends_speech() -> None:
    activity = VoiceActivity()
    assert activity.stop(0) is None
    activity.step(SPEECH, 0)
    activity.step(SPEECH, WINDOW)
    assert activity.stop(2 * WINDOW + 100) == Offset(2 * WINDOW, 100, 2 * WINDOW)
    assert activity.stop(9_999) is None


@given(probabilities)
def test_onsets_and_offsets_alternate_and_never_overlap(heard: list[float]) -> None:
    changes = listen(heard)
    assert [type(change) for change in changes] == [Onset, Offset] * (len(changes) // 2) + [Onset] * (len(changes) % 2)
    places = [change.at for change in changes]
    assert places == sorted(places)


@given(probabilities)
def test_every_utterance_has_its_least_speech_and_every_end_its_silence(heard: list[float]) -> None:
    changes = listen(heard)
    for onset, offset in zip(changes[::2], changes[1::2], strict=False):
        assert isinstance(offset, Offset)
        assert offset.at - onset.at >= MIN_SPEECH
        assert SILENCE <= offset.silence < SILENCE + WINDOW
        assert MIN_SPEECH <= offset.voiced <= offset.at - onset.at


@given(probabilities)
def test_silence_is_counted_from_the_last_speech(heard: list[float]) -> None:
    activity = VoiceActivity()
    for index, probability in enumerate(heard):
        activity.step(probability, index * WINDOW)
        if activity.speaking:
            assert 0 <= activity.silence < SILENCE
            assert activity.silence % WINDOW == 0


def test_audio_that_waits_counts_as_silence_but_not_a_recording_sent_at_once() -> None:
    offset = Offset(at=16_000, silence=4_096, voiced=8_000)
    assert offset.silence_until(16_000 + 4_096 + 800) == 4_896
    assert offset.silence_until(16_000 + 60 * CALLER_HZ) == 4_096 + UNREAD
    assert offset.silence_until(16_000) == 4_096
