"""What was heard of what was said."""

from hypothesis import given
from hypothesis import strategies as st

from schemas.events import (
    Paused,
    PlaybackEnded,
    PlaybackStarted,
    Resumed,
    SegmentSynthesized,
    SentenceReady,
    TurnCancelled,
    TurnEnded,
    TurnStarted,
    Word,
)
from session.entries import Segment
from session.history import FRAME_MS, Exchange, conversation, heard, heard_text
from session.retention import KEEP_HISTORY, KEEP_HISTORY_CHARACTERS
from tests.session.told import Told

OPEN = Segment("We open at nine.", 1_600)
CLOSE = Segment("We close at five.", 1_700)

TEXTS = st.text(alphabet="abc ,.'é—", min_size=1, max_size=40)


@st.composite
def timed(draw: st.DrawFn) -> Segment:
    """A segment that may know its length, and where its words lie."""
    text = draw(TEXTS)
    duration_ms = draw(st.none() | st.integers(0, 5_000))
    words = []
    if duration_ms and draw(st.booleans()):
        ends = sorted(
            draw(st.lists(st.integers(0, duration_ms), min_size=len(text.split()), max_size=len(text.split())))
        )
        words = [Word(word, 0, end) for word, end in zip(text.split(), ends, strict=True)]
    return Segment(text, duration_ms, tuple(words))


SEGMENTS = st.lists(timed(), max_size=5)


def squeezed(text: str) -> str:
    return "".join(text.split())


@given(SEGMENTS, st.integers(-100, 30_000))
def test_what_was_heard_is_the_beginning_of_what_sounded(segments: list[Segment], heard_ms: int) -> None:
    sounded = " ".join(segment.text for segment in segments if segment.duration_ms != 0)
    assert squeezed(sounded).startswith(squeezed(heard_text(segments, heard_ms)))


@given(SEGMENTS, st.integers(0, 20_000), st.integers(0, 20_000))
def test_who_listens_longer_hears_no_less(segments: list[Segment], one_ms: int, more_ms: int) -> None:
    assert heard_text(segments, one_ms + more_ms).startswith(heard_text(segments, one_ms).rstrip())


@given(SEGMENTS, st.integers(0, 20_000))
def test_only_whole_words_were_heard(segments: list[Segment], heard_ms: int) -> None:
    said = " ".join(segment.text for segment in segments if segment.duration_ms != 0).split()
    whole = heard_text(segments, heard_ms).split()
    assert whole == said[: len(whole)]


@given(SEGMENTS)
def test_nothing_was_heard_of_what_was_never_played(segments: list[Segment]) -> None:
    assert heard_text(segments, 0) == ""


def test_who_hears_it_all_has_heard_it_all_though_a_frame_was_rounded_away() -> None:
    assert heard_text([OPEN, CLOSE], 3_300 - FRAME_MS) == "We open at nine. We close at five."


def test_without_word_times_the_characters_tell() -> None:
    assert heard_text([OPEN, CLOSE], 700) == "We open"
    assert heard_text([OPEN, CLOSE], 1_600 + 300) == "We open at nine. We"


def test_word_times_are_believed() -> None:
    words = tuple(
        Word(text, end - 10, end) for text, end in [("We", 100), ("open", 1_000), ("at", 1_500), ("nine", 1_600)]
    )
    slow = Segment("We open at nine.", 1_600, words)
    assert heard_text([slow], 700) == "We"
    assert heard_text([slow], 1_590) == "We open at nine."


def test_a_segment_of_unknown_length_is_taken_to_be_read_at_an_ordinary_pace() -> None:
    assert heard_text([Segment("We open at nine.")], 600) == "We open"


def test_a_segment_that_made_no_sound_was_not_heard() -> None:
    assert heard_text([Segment("Lost.", 0), OPEN], 5_000) == "We open at nine."


def test_a_turn_that_still_plays_has_been_heard_up_to_now() -> None:
    told = Told()
    told(
        TurnStarted(turn=2, answers=0, text="When do you open?"),
        SentenceReady(turn=2, segment=0, text="We open at nine."),
        SegmentSynthesized(turn=2, segment=0, duration_ms=1_600),
        PlaybackStarted(turn=2, time=8),
    )
    assert heard(told.state, 2, played_ms=700) == "We open"
    told(Paused(turn=2, segment=0, heard_ms=400, utterance=1))
    assert heard(told.state, 2, played_ms=99_999) == "We"
    told(Resumed(turn=2, heard_ms=400, utterance=1))
    assert heard(told.state, 2, played_ms=300) == "We open"


def test_a_late_word_about_a_forgotten_turn_changes_nothing() -> None:
    told = Told()
    for turn in range(2, 2 + KEEP_HISTORY + 1):
        told(TurnStarted(turn=turn, answers=turn, text=""))
    assert len(conversation(told.state)) == KEEP_HISTORY
    told(
        SentenceReady(turn=2, segment=0, text="We open at nine."),
        SegmentSynthesized(turn=2, segment=0, duration_ms=1_600),
        PlaybackStarted(turn=2, time=8),
        PlaybackEnded(turn=2, heard_ms=1_600),
        TurnCancelled(turn=2),
    )
    assert heard(told.state, 2) == ""
    assert conversation(told.state) == (Exchange("", ""),) * KEEP_HISTORY
    assert 2 not in told.state.history


def test_long_answers_end_the_history_earlier_and_the_newest_turn_is_always_whole() -> None:
    told = Told()
    for turn in range(2, 22):
        told(TurnStarted(turn=turn, answers=turn, text="?"), TurnEnded(turn=turn, heard="a" * 9_000))
    assert len(conversation(told.state)) == KEEP_HISTORY_CHARACTERS // 9_001
    told(TurnStarted(turn=22, answers=22, text="?"), TurnEnded(turn=22, heard="a" * 2 * KEEP_HISTORY_CHARACTERS))
    assert [len(one.agent) for one in conversation(told.state)] == [2 * KEEP_HISTORY_CHARACTERS]


def test_a_filler_takes_its_time_and_leaves_no_words() -> None:
    filler = Segment("One moment.", 800, kind="filler")
    assert heard_text([filler, OPEN], 800) == ""
    assert heard_text([filler, OPEN], 800 + 700) == "We open"
