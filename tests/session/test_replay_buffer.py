"""What a new owner can hear again of a caller."""

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.audio import CALLER_FRAME_BYTES, CALLER_HZ
from session.replay_buffer import CHUNK, RING_S, ReplayBuffer

FRAME = CALLER_FRAME_BYTES // 2
MEGABYTE = 1 << 20


def speech(start: int, samples: int) -> bytes:
    """Samples that tell their own position, never 0."""
    return b"".join((1 + position % 30_000).to_bytes(2, "little") for position in range(start, start + samples))


def kept(ring: ReplayBuffer, at: int) -> bytes:
    return b"".join(pcm for _, pcm in ring.since(at))


def test_a_new_owner_hears_again_from_the_sample_it_asks_for() -> None:
    ring = ReplayBuffer()
    for number in range(5):
        ring.append(speech(number * FRAME, FRAME), number * FRAME)
    assert kept(ring, FRAME + 7) == speech(FRAME + 7, 4 * FRAME - 7)


def test_a_replay_comes_in_chunks_that_the_bus_takes() -> None:
    ring = ReplayBuffer()
    for second in range(3):
        ring.append(speech(second * CALLER_HZ, CALLER_HZ), second * CALLER_HZ)
    chunks = list(ring.since(CALLER_HZ - 10))
    assert max(len(pcm) for _, pcm in chunks) == CHUNK * 2
    assert [at for at, _ in chunks][:2] == [CALLER_HZ - 10, CALLER_HZ]
    assert kept(ring, CALLER_HZ - 10) == speech(CALLER_HZ - 10, 2 * CALLER_HZ + 10)


def test_what_has_become_words_is_let_go_and_is_no_loss() -> None:
    ring = ReplayBuffer()
    for second in range(5):
        ring.append(speech(second * CALLER_HZ, CALLER_HZ), second * CALLER_HZ)
    ring.forget(3 * CALLER_HZ + 7)
    ring.forget(CALLER_HZ)
    assert (ring.start, ring.dropped) == (3 * CALLER_HZ + 7, 0)
    assert kept(ring, 0) == speech(3 * CALLER_HZ + 7, 2 * CALLER_HZ - 7)
    ring.forget(9 * CALLER_HZ)
    ring.append(speech(5 * CALLER_HZ, FRAME), 5 * CALLER_HZ)
    assert list(ring.since(0)) == [(5 * CALLER_HZ, speech(5 * CALLER_HZ, FRAME))]


def test_half_a_minute_is_kept_and_what_gave_way_is_counted() -> None:
    ring = ReplayBuffer()
    frames = (RING_S + 5) * CALLER_HZ // FRAME
    for number in range(frames):
        ring.append(bytes(CALLER_FRAME_BYTES), number * FRAME)
    assert ring.until - ring.start == RING_S * CALLER_HZ
    assert ring.dropped == 5 * CALLER_HZ
    assert next(ring.since(0))[0] == 5 * CALLER_HZ


def test_a_full_ring_is_less_than_a_megabyte() -> None:
    tracemalloc.start()
    try:
        ring = ReplayBuffer()
        for number in range(2 * RING_S * CALLER_HZ // FRAME):
            ring.append(bytes(CALLER_FRAME_BYTES), number * FRAME)
        assert tracemalloc.get_traced_memory()[0] < MEGABYTE
    finally:
        tracemalloc.stop()


def test_a_hole_in_the_line_is_silence_so_that_positions_stay_times() -> None:
    ring = ReplayBuffer()
    ring.append(speech(0, FRAME), 0)
    ring.append(speech(3 * FRAME, FRAME), 3 * FRAME)
    assert kept(ring, 0) == speech(0, FRAME) + bytes(2 * CALLER_FRAME_BYTES) + speech(3 * FRAME, FRAME)


def test_after_a_hole_longer_than_the_ring_only_the_new_is_kept() -> None:
    ring = ReplayBuffer(seconds=1)
    ring.append(speech(0, FRAME), 0)
    ring.append(speech(9 * CALLER_HZ, FRAME), 9 * CALLER_HZ)
    assert list(ring.since(0)) == [(9 * CALLER_HZ, speech(9 * CALLER_HZ, FRAME))]
    assert ring.dropped == FRAME


def test_a_line_may_begin_late() -> None:
    ring = ReplayBuffer()
    ring.append(speech(500, FRAME), 500)
    assert list(ring.since(0)) == [(500, speech(500, FRAME))]


def test_the_caller_may_speak_on_while_a_replay_waits() -> None:
    ring = ReplayBuffer()
    ring.append(speech(0, FRAME), 0)
    ring.append(speech(FRAME, FRAME), FRAME)
    ring.append(speech(2 * FRAME, CALLER_HZ), 2 * FRAME)
    replay = ring.since(0)
    first = next(replay)[1]
    ring.append(speech(2 * FRAME + CALLER_HZ, CALLER_HZ), 2 * FRAME + CALLER_HZ)
    ring.forget(CALLER_HZ + FRAME)
    assert first + b"".join(pcm for _, pcm in replay) == speech(0, 2 * FRAME + CALLER_HZ)


def test_half_a_sample_is_refused() -> None:
    with pytest.raises(ValueError, match="whole samples"):
        ReplayBuffer().append(b"\x00", 0)


chunks = st.lists(st.tuples(st.integers(-400, 400), st.integers(0, 300), st.integers(0, 2_000)), max_size=40)


@given(chunks, st.integers(0, 12_000))
def test_whatever_comes_the_line_is_seamless_true_and_bounded(steps: list[tuple[int, int, int]], asked: int) -> None:
    """Each step is (how far from the end of the line the chunk begins, its samples, how much of the line stays)."""
    ring = ReplayBuffer(seconds=0.05)
    capacity = CALLER_HZ // 20
    heard: set[int] = set()
    for offset, samples, stays in steps:
        at = max(0, ring.until + offset)
        heard.update(range(max(at, ring.until), at + samples))
        ring.append(speech(at, samples), at)
        ring.forget(ring.until - stays)
    assert ring.until - ring.start <= capacity
    position = max(asked, ring.start)
    for at, pcm in ring.since(asked):
        assert at == position
        for index in range(len(pcm) // 2):
            value = int.from_bytes(pcm[2 * index : 2 * index + 2], "little")
            assert value == (1 + (at + index) % 30_000 if at + index in heard else 0)
        position += len(pcm) // 2
    assert position == max(asked, ring.until) or asked > ring.until
