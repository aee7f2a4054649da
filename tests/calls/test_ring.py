"""What a new owner can hear again of a caller."""

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calls.ring import RING_S, Ring
from schemas.audio import CALLER_FRAME_BYTES, CALLER_HZ

FRAME = CALLER_FRAME_BYTES // 2
MEGABYTE = 1 << 20


def speech(start: int, samples: int) -> bytes:
    """Samples that tell their own position, never 0."""
    return b"".join((1 + position % 30_000).to_bytes(2, "little") for position in range(start, start + samples))


def kept(ring: Ring, at: int) -> bytes:
    return b"".join(pcm for _, pcm in ring.since(at))


def test_a_new_owner_hears_again_from_the_sample_it_asks_for() -> None:
    ring = Ring()
    for number in range(5):
        ring.append(speech(number * FRAME, FRAME), number * FRAME)
    chunks = list(ring.since(FRAME + 7))
    assert [at for at, _ in chunks] == [FRAME + 7, 2 * FRAME, 3 * FRAME, 4 * FRAME]
    assert kept(ring, FRAME + 7) == speech(FRAME + 7, 4 * FRAME - 7)


def test_half_a_minute_is_kept_and_what_gave_way_is_counted() -> None:
    ring = Ring()
    frames = (RING_S + 5) * CALLER_HZ // FRAME
    for number in range(frames):
        ring.append(bytes(CALLER_FRAME_BYTES), number * FRAME)
    assert ring.until - ring.start == RING_S * CALLER_HZ
    assert ring.dropped == 5 * CALLER_HZ
    assert next(ring.since(0))[0] == 5 * CALLER_HZ


def test_a_full_ring_is_less_than_a_megabyte() -> None:
    tracemalloc.start()
    try:
        ring = Ring()
        for number in range(2 * RING_S * CALLER_HZ // FRAME):
            ring.append(bytes(CALLER_FRAME_BYTES), number * FRAME)
        assert tracemalloc.get_traced_memory()[0] < MEGABYTE
    finally:
        tracemalloc.stop()


def test_a_hole_in_the_line_is_silence_so_that_positions_stay_times() -> None:
    ring = Ring()
    ring.append(speech(0, FRAME), 0)
    ring.append(speech(3 * FRAME, FRAME), 3 * FRAME)
    assert kept(ring, 0) == speech(0, FRAME) + bytes(2 * CALLER_FRAME_BYTES) + speech(3 * FRAME, FRAME)


def test_after_a_hole_longer_than_the_ring_only_the_new_is_kept() -> None:
    ring = Ring(seconds=1)
    ring.append(speech(0, FRAME), 0)
    ring.append(speech(9 * CALLER_HZ, FRAME), 9 * CALLER_HZ)
    assert list(ring.since(0)) == [(9 * CALLER_HZ, speech(9 * CALLER_HZ, FRAME))]
    assert ring.dropped == FRAME


def test_a_line_may_begin_late() -> None:
    ring = Ring()
    ring.append(speech(500, FRAME), 500)
    assert list(ring.since(0)) == [(500, speech(500, FRAME))]


def test_the_caller_may_speak_on_while_a_replay_waits() -> None:
    ring = Ring()
    ring.append(speech(0, FRAME), 0)
    ring.append(speech(FRAME, FRAME), FRAME)
    replay = ring.since(0)
    next(replay)
    ring.append(speech(2 * FRAME, FRAME), 2 * FRAME)
    assert [at for at, _ in replay] == [FRAME]


def test_half_a_sample_is_refused() -> None:
    with pytest.raises(ValueError, match="whole samples"):
        Ring().append(b"\x00", 0)


chunks = st.lists(st.tuples(st.integers(-400, 400), st.integers(0, 300)), max_size=40)


@given(chunks, st.integers(0, 12_000))
def test_whatever_comes_the_line_is_seamless_true_and_bounded(steps: list[tuple[int, int]], asked: int) -> None:
    """Each step is (how far from the end of the line the chunk begins, how many samples it has)."""
    ring = Ring(seconds=0.05)
    capacity = CALLER_HZ // 20
    heard: set[int] = set()
    for offset, samples in steps:
        at = max(0, ring.until + offset)
        heard.update(range(max(at, ring.until), at + samples))
        ring.append(speech(at, samples), at)
    assert ring.until - ring.start <= capacity
    position = max(asked, ring.start)
    for at, pcm in ring.since(asked):
        assert at == position
        for index in range(len(pcm) // 2):
            value = int.from_bytes(pcm[2 * index : 2 * index + 2], "little")
            assert value == (1 + (at + index) % 30_000 if at + index in heard else 0)
        position += len(pcm) // 2
    assert position == max(asked, ring.until) or asked > ring.until
