"""The audio that is kept of a caller: which samples, where, and for how much memory."""

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.audio import CALLER_FRAME_BYTES, CALLER_HZ
from session.audio_buffer import CHUNK, KEEP_S, AudioBuffer

FRAME = CALLER_FRAME_BYTES // 2
MEGABYTE = 1 << 20


def speech(start: int, samples: int) -> bytes:
    """Samples that tell their own position, never 0."""
    return b"".join((1 + position % 30_000).to_bytes(2, "little") for position in range(start, start + samples))


def kept(buffer: AudioBuffer, at: int) -> bytes:
    return b"".join(pcm for _, pcm in buffer.since(at))


def test_a_new_owner_hears_again_from_the_sample_it_asks_for() -> None:
    buffer = AudioBuffer()
    for number in range(5):
        buffer.append(speech(number * FRAME, FRAME), number * FRAME)
    assert kept(buffer, FRAME + 7) == speech(FRAME + 7, 4 * FRAME - 7)


def test_a_replay_comes_in_chunks_that_the_bus_takes() -> None:
    buffer = AudioBuffer()
    for second in range(3):
        buffer.append(speech(second * CALLER_HZ, CALLER_HZ), second * CALLER_HZ)
    chunks = list(buffer.since(CALLER_HZ - 10))
    assert max(len(pcm) for _, pcm in chunks) == CHUNK * 2
    assert [at for at, _ in chunks][:2] == [CALLER_HZ - 10, CALLER_HZ]
    assert kept(buffer, CALLER_HZ - 10) == speech(CALLER_HZ - 10, 2 * CALLER_HZ + 10)


def test_what_has_become_words_is_let_go_and_is_no_loss() -> None:
    buffer = AudioBuffer()
    for second in range(5):
        buffer.append(speech(second * CALLER_HZ, CALLER_HZ), second * CALLER_HZ)
    buffer.forget(3 * CALLER_HZ + 7)
    buffer.forget(CALLER_HZ)
    assert (buffer.start, buffer.dropped) == (3 * CALLER_HZ + 7, 0)
    assert kept(buffer, 0) == speech(3 * CALLER_HZ + 7, 2 * CALLER_HZ - 7)
    buffer.forget(9 * CALLER_HZ)
    buffer.append(speech(5 * CALLER_HZ, FRAME), 5 * CALLER_HZ)
    assert list(buffer.since(0)) == [(5 * CALLER_HZ, speech(5 * CALLER_HZ, FRAME))]


def test_half_a_minute_is_kept_and_what_gave_way_is_counted() -> None:
    buffer = AudioBuffer()
    frames = (KEEP_S + 5) * CALLER_HZ // FRAME
    for number in range(frames):
        buffer.append(bytes(CALLER_FRAME_BYTES), number * FRAME)
    assert buffer.end - buffer.start == KEEP_S * CALLER_HZ
    assert buffer.dropped == 5 * CALLER_HZ
    assert next(buffer.since(0))[0] == 5 * CALLER_HZ


def test_a_full_buffer_is_less_than_a_megabyte() -> None:
    tracemalloc.start()
    try:
        buffer = AudioBuffer()
        for number in range(2 * KEEP_S * CALLER_HZ // FRAME):
            buffer.append(bytes(CALLER_FRAME_BYTES), number * FRAME)
        assert tracemalloc.get_traced_memory()[0] < MEGABYTE
    finally:
        tracemalloc.stop()


def test_a_hole_in_the_line_is_silence_so_that_positions_stay_times() -> None:
    buffer = AudioBuffer()
    buffer.append(speech(0, FRAME), 0)
    buffer.append(speech(3 * FRAME, FRAME), 3 * FRAME)
    assert kept(buffer, 0) == speech(0, FRAME) + bytes(2 * CALLER_FRAME_BYTES) + speech(3 * FRAME, FRAME)


def test_after_a_hole_longer_than_the_buffer_only_the_new_is_kept() -> None:
    buffer = AudioBuffer(seconds=1)
    buffer.append(speech(0, FRAME), 0)
    buffer.append(speech(9 * CALLER_HZ, FRAME), 9 * CALLER_HZ)
    assert list(buffer.since(0)) == [(9 * CALLER_HZ, speech(9 * CALLER_HZ, FRAME))]
    assert buffer.dropped == FRAME


def test_a_line_may_begin_late() -> None:
    buffer = AudioBuffer()
    buffer.append(speech(500, FRAME), 500)
    assert list(buffer.since(0)) == [(500, speech(500, FRAME))]


def test_the_caller_may_speak_on_while_a_replay_waits() -> None:
    buffer = AudioBuffer()
    buffer.append(speech(0, FRAME), 0)
    buffer.append(speech(FRAME, FRAME), FRAME)
    buffer.append(speech(2 * FRAME, CALLER_HZ), 2 * FRAME)
    replay = buffer.since(0)
    first = next(replay)[1]
    buffer.append(speech(2 * FRAME + CALLER_HZ, CALLER_HZ), 2 * FRAME + CALLER_HZ)
    buffer.forget(CALLER_HZ + FRAME)
    assert first + b"".join(pcm for _, pcm in replay) == speech(0, 2 * FRAME + CALLER_HZ)


def test_half_a_sample_is_refused() -> None:
    with pytest.raises(ValueError, match="whole samples"):
        AudioBuffer().append(b"\x00", 0)


chunks = st.lists(st.tuples(st.integers(-400, 400), st.integers(0, 300), st.integers(0, 2_000)), max_size=40)


@given(chunks, st.integers(0, 12_000))
def test_whatever_comes_the_line_is_seamless_true_and_bounded(steps: list[tuple[int, int, int]], asked: int) -> None:
    """Each step is (how far from the end of the line the chunk begins, its samples, how much of the line stays)."""
    buffer = AudioBuffer(seconds=0.05)
    capacity = CALLER_HZ // 20
    heard: set[int] = set()
    for offset, samples, stays in steps:
        at = max(0, buffer.end + offset)
        heard.update(range(max(at, buffer.end), at + samples))
        buffer.append(speech(at, samples), at)
        buffer.forget(buffer.end - stays)
    assert buffer.end - buffer.start <= capacity
    position = max(asked, buffer.start)
    for at, pcm in buffer.since(asked):
        assert at == position
        for index in range(len(pcm) // 2):
            value = int.from_bytes(pcm[2 * index : 2 * index + 2], "little")
            assert value == (1 + (at + index) % 30_000 if at + index in heard else 0)
        position += len(pcm) // 2
    assert position == max(asked, buffer.end) or asked > buffer.end


# --- as stt uses it: stretches and windows are cut out of it --------------------------------------------------------

LONGEST_GAP = 10 * CALLER_HZ


def pcm(*samples: int) -> bytes:
    return b"".join(sample.to_bytes(2, "little", signed=True) for sample in samples)


def test_the_buffer_begins_where_the_audio_does() -> None:
    buffer = AudioBuffer()
    buffer.append(pcm(1, 2, 3), at=500)
    assert (buffer.start, buffer.end) == (500, 503)
    assert buffer.cut(501, 503) == pcm(2, 3)


def test_a_lost_frame_is_silence_so_that_all_else_stays_in_place() -> None:
    buffer = AudioBuffer()
    buffer.append(pcm(1, 2), at=0)
    buffer.append(pcm(5), at=4)
    assert buffer.cut(0, 5) == pcm(1, 2, 0, 0, 5)


def test_a_lost_frame_is_silence_even_if_all_before_it_is_forgotten() -> None:
    buffer = AudioBuffer(block=2)
    buffer.append(pcm(1, 2), at=0)
    buffer.forget(2)
    buffer.append(pcm(5), at=4)
    assert buffer.cut(0, 5) == pcm(0, 0, 5)


def test_a_replayed_frame_is_not_kept_twice() -> None:
    buffer = AudioBuffer()
    buffer.append(pcm(1, 2, 3), at=0)
    buffer.append(pcm(9, 9), at=0)
    buffer.append(pcm(9, 4), at=2)
    assert buffer.cut(0, 10) == pcm(1, 2, 3, 4)


def test_a_long_absence_costs_no_memory() -> None:
    buffer = AudioBuffer(longest_gap=LONGEST_GAP)
    buffer.append(pcm(1), at=0)
    buffer.append(pcm(7), at=10**9)
    assert buffer.start == 10**9
    assert buffer.cut(10**9, 10**9 + 1) == pcm(7)


def test_audio_that_is_forgotten_is_gone_and_the_rest_stays_in_place() -> None:
    buffer = AudioBuffer()
    buffer.append(pcm(1, 2, 3), at=10)
    buffer.forget(12)
    assert (buffer.start, buffer.cut(0, 99)) == (12, pcm(3))
    buffer.forget(99)
    assert (buffer.start, buffer.end) == (13, 13)


def test_more_than_it_keeps_pushes_the_oldest_out() -> None:
    keep = KEEP_S * CALLER_HZ
    buffer = AudioBuffer()
    buffer.append(bytes(2 * keep), at=0)
    buffer.append(pcm(1), at=keep)
    assert (buffer.start, buffer.end) == (1, keep + 1)


@given(
    st.lists(st.tuples(st.integers(0, 60), st.integers(1, 20)), max_size=20),
    st.integers(0, 80),
    st.integers(0, 80),
    st.integers(1, 40),
)
def test_whatever_arrives_every_sample_lies_where_it_was_spoken(
    frames: list[tuple[int, int]], forget: int, start: int, block: int
) -> None:
    buffer = AudioBuffer(block=block)
    line: dict[int, int] = {}
    for at, size in frames:
        known = buffer.end if line else 0
        buffer.append(pcm(*range(at + 1, at + size + 1)), at=at)  # a sample's value is its place + 1
        line.update({place: place + 1 for place in range(max(at, known), at + size)})
    buffer.forget(forget)
    begin = max(start, buffer.start)
    expected = [line.get(place, 0) for place in range(begin, buffer.end)]
    assert buffer.cut(start, buffer.end) == pcm(*expected)
