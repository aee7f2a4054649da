"""What is kept of the caller's audio."""

from hypothesis import given
from hypothesis import strategies as st

from stages.stt.audio_buffer import KEEP, LONGEST_GAP, LULL, AudioBuffer, quietest


def pcm(*samples: int) -> bytes:
    return b"".join(sample.to_bytes(2, "little", signed=True) for sample in samples)


def test_the_tape_begins_where_the_audio_does() -> None:
    tape = AudioBuffer()
    tape.append(pcm(1, 2, 3), at=500)
    assert (tape.start, tape.end) == (500, 503)
    assert tape.cut(501, 503) == pcm(2, 3)


def test_a_lost_frame_is_silence_so_that_all_else_stays_in_place() -> None:
    tape = AudioBuffer()
    tape.append(pcm(1, 2), at=0)
    tape.append(pcm(5), at=4)
    assert tape.cut(0, 5) == pcm(1, 2, 0, 0, 5)


def test_a_replayed_frame_is_not_heard_twice() -> None:
    tape = AudioBuffer()
    tape.append(pcm(1, 2, 3), at=0)
    tape.append(pcm(9, 9), at=0)
    tape.append(pcm(9, 4), at=2)
    assert tape.cut(0, 10) == pcm(1, 2, 3, 4)


def test_a_long_absence_costs_no_memory() -> None:
    tape = AudioBuffer()
    tape.append(pcm(1), at=0)
    tape.append(pcm(7), at=10**9)
    assert tape.start == 10**9 - LONGEST_GAP
    assert tape.cut(10**9, 10**9 + 1) == pcm(7)


def test_what_is_forgotten_is_cut_off_and_the_rest_stays_in_place() -> None:
    tape = AudioBuffer()
    tape.append(pcm(1, 2, 3), at=10)
    tape.forget(12)
    assert (tape.start, tape.cut(0, 99)) == (12, pcm(3))
    tape.forget(99)
    assert (tape.start, tape.end) == (13, 13)


def test_more_than_it_keeps_pushes_the_oldest_out() -> None:
    tape = AudioBuffer()
    tape.append(bytes(2 * KEEP), at=0)
    tape.append(pcm(1), at=KEEP)
    assert (tape.start, tape.end) == (1, KEEP + 1)


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(1, 20)), max_size=20), st.integers(0, 80), st.integers(0, 80))
def test_whatever_arrives_every_sample_lies_where_it_was_said(
    frames: list[tuple[int, int]], forget: int, start: int
) -> None:
    tape = AudioBuffer()
    line: dict[int, int] = {}
    for at, size in frames:
        known = tape.end if line else 0
        tape.append(pcm(*range(at + 1, at + size + 1)), at=at)  # a sample's value is its place + 1
        line.update({place: place + 1 for place in range(max(at, known), at + size)})
    tape.forget(forget)
    begin = max(start, tape.start)
    expected = [line.get(place, 0) for place in range(begin, tape.end)]
    assert tape.cut(start, tape.end) == pcm(*expected)


def test_a_monologue_is_cut_in_the_gap_between_two_words() -> None:
    word, gap = pcm(1_000, -1_000) * 4_000, pcm(10, -10) * LULL
    assert 8_000 <= quietest(word + gap + word) < 8_000 + 2 * LULL
