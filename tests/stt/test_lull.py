"""Where a monologue is cut."""

from stages.stt.lull import LULL, quietest


def pcm(*samples: int) -> bytes:
    return b"".join(sample.to_bytes(2, "little", signed=True) for sample in samples)


def test_a_monologue_is_cut_in_the_gap_between_two_words() -> None:
    word, gap = pcm(1_000, -1_000) * 4_000, pcm(10, -10) * LULL
    assert 8_000 <= quietest(word + gap + word) < 8_000 + 2 * LULL
