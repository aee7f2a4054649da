"""What a caller hears of frames that come when the network pleases. At 1 kHz a sample is a millisecond."""

from hypothesis import given
from hypothesis import strategies as st

from antiphon_testing.playout import MAX_AHEAD_S, Playout

HZ = 1_000
FRAME = 20


def tone(value: int, samples: int = FRAME) -> bytes:
    return value.to_bytes(2, "little") * samples


def heard(ear: Playout, until: int) -> list[int]:
    pcm = b"".join(ear.take(until))
    return [int.from_bytes(pcm[index : index + 2], "little") for index in range(0, len(pcm), 2)]


def runs(samples: list[int]) -> list[tuple[int, int]]:
    """(value, how many) of equal neighbours."""
    found: list[tuple[int, int]] = []
    for value in samples:
        if found and found[-1][0] == value:
            found[-1] = (value, found[-1][1] + 1)
        else:
            found.append((value, 1))
    return found


def test_frames_play_back_to_back_from_the_arrival_of_the_first() -> None:
    ear = Playout(HZ)
    for value, arrives in ((1, 105), (2, 111), (3, 150)):  # the third is 5 ms late
        ear.play(tone(value), arrives)
    assert runs(heard(ear, 200)) == [(0, 105), (1, 20), (2, 20), (0, 5), (3, 20), (0, 30)]


def test_a_frame_that_comes_early_waits_its_turn() -> None:
    ear = Playout(HZ)
    for value in (1, 2, 3, 4, 5):
        ear.play(tone(value), 100)
    assert runs(heard(ear, 220)) == [(0, 100), (1, 20), (2, 20), (3, 20), (4, 20), (5, 20), (0, 20)]


def test_clear_lets_the_frame_that_plays_end_and_drops_the_rest() -> None:
    ear = Playout(HZ)
    for value in (1, 2, 3):
        ear.play(tone(value), 100)
    ear.clear(125)
    ear.play(tone(9), 130)
    assert runs(heard(ear, 200)) == [(0, 100), (1, 20), (2, 20), (9, 20), (0, 40)]


def test_clear_spares_a_frame_of_which_half_is_heard_already() -> None:
    ear = Playout(HZ)
    ear.play(tone(1), 100)
    ear.play(tone(2), 100)
    assert runs(heard(ear, 110)) == [(0, 100), (1, 10)]
    ear.clear(110)
    assert runs(heard(ear, 150)) == [(1, 10), (0, 30)]


def test_what_comes_after_a_clear_is_not_late_for_what_was_dropped() -> None:
    ear = Playout(HZ)
    ear.play(tone(1), 100)
    ear.play(tone(2), 500)
    ear.clear(200)
    ear.play(tone(3), 210)
    assert runs(heard(ear, 240)) == [(0, 100), (1, 20), (0, 90), (3, 20), (0, 10)]


def test_clear_in_silence_does_nothing() -> None:
    ear = Playout(HZ)
    ear.clear(50)
    ear.play(tone(1), 60)
    assert runs(heard(ear, 100)) == [(0, 60), (1, 20), (0, 20)]


def test_a_server_that_does_not_pace_is_not_buffered_without_end() -> None:
    ear = Playout(HZ)
    for _ in range(MAX_AHEAD_S * HZ // FRAME + 7):
        ear.play(tone(1), 0)
    assert ear.ahead == MAX_AHEAD_S * HZ
    assert ear.dropped == 7 * FRAME


steps = st.lists(
    st.tuples(st.integers(0, 60), st.sampled_from(["play", "clear", "take"]), st.integers(0, 30)), max_size=30
)


@given(steps)
def test_the_line_never_skips_and_frames_never_overlap(moves: list[tuple[int, str, int]]) -> None:
    """However it is taken out, the line is as long as the time that passed and each frame is heard from its begin."""
    ear, now, line, value = Playout(HZ), 0, [], 0
    played: dict[int, int] = {}
    for later, move, size in moves:
        now += later
        if move == "play":
            value += 1
            played[value] = size
            ear.play(tone(value, size), now)
        elif move == "clear":
            ear.clear(now)
        else:
            line += heard(ear, now)
            assert len(line) == now
    line += heard(ear, now + 2_000)
    assert len(line) == now + 2_000
    told = [run for run in runs(line) if run[0]]
    assert [run[0] for run in told] == sorted({run[0] for run in told}), "in order, none in two pieces"
    assert all(played[number] == length for number, length in told), "what begins is heard to its end"
