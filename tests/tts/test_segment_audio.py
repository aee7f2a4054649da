"""Audio of any rate comes out at 24 kHz without clicks, and silence is told from sound."""

import numpy as np
import pytest

from schemas.audio import AGENT_HZ
from schemas.events import Word
from stages.tts.contract import AudioChunk
from stages.tts.segment_audio import SegmentAudio, sounds
from tests.kit.context_vendor import HZ, tone

RATES = (8_000, 16_000, 22_050, 44_100, 48_000)


def taken(pcm: bytes, rate: int, size: int) -> bytes:
    """The audio of a segment that came in chunks of `size` bytes and an empty last one."""
    audio = SegmentAudio()
    parts = [audio.take(AudioChunk(pcm[start : start + size], rate, 0)) for start in range(0, len(pcm), size)]
    return b"".join([*parts, audio.take(AudioChunk(b"", rate, 0, last_of_segment=True))])


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("size", [2, 998, 6_400, 1_000_000])
def test_a_tone_of_any_rate_is_the_same_tone_at_24_khz(rate: int, size: int) -> None:
    resampled = np.frombuffer(taken(tone(0, 500, rate), rate, size), "<i2").astype(float)
    assert len(resampled) == pytest.approx(AGENT_HZ // 2, abs=1)
    expected = 8_000 * np.sin(2 * np.pi * HZ * np.arange(len(resampled)) / AGENT_HZ)
    middle = slice(AGENT_HZ // 20, -AGENT_HZ // 20)  # the filter rings where the tone begins and ends
    assert np.abs(resampled - expected)[middle].max() < 80, "a click, or another tone"  # 1 % of the amplitude


def test_24_khz_passes_unchanged_and_at_once() -> None:
    pcm = tone(0, 100, AGENT_HZ)
    assert SegmentAudio().take(AudioChunk(pcm, AGENT_HZ, 0)) == pcm


def test_it_counts_samples_and_collects_words() -> None:
    audio = SegmentAudio()
    audio.take(AudioChunk(tone(0, 200), 16_000, 0, words=(Word("We", 0, 90),)))
    audio.take(AudioChunk(tone(200, 200), 16_000, 0, last_of_segment=True, words=(Word("open.", 90, 400),)))
    assert audio.duration_ms == 400
    assert [word.text for word in audio.words] == ["We", "open."]


@pytest.mark.parametrize(
    ("samples", "audible"),
    [
        ([], False),
        ([0] * 100, False),
        ([32, -32] * 50, False),
        ([0, 33, 0], True),
        ([0, -33, 0], True),
        ([-32_768], True),
    ],
)
def test_sound_is_louder_than_minus_60_dbfs(samples: list[int], audible: bool) -> None:
    assert sounds(np.array(samples, "<i2").tobytes()) is audible
