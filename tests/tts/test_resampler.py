"""Audio of any rate becomes 24 kHz, chunk by chunk."""

import numpy as np

from schemas.audio import AGENT_HZ
from stages.tts.resampler import Resampler

HZ = 16_000


def test_audio_at_24_khz_passes_unchanged() -> None:
    assert Resampler(AGENT_HZ).convert(b"\x01\x00\x02\x00", last=False) == b"\x01\x00\x02\x00"


def test_chunks_together_are_as_long_as_the_segment_and_have_no_clicks() -> None:
    tone = (8_000 * np.sin(2 * np.pi * 440 * np.arange(HZ) / HZ)).astype("<i2")
    resampler = Resampler(HZ)
    starts = range(0, len(tone), 320)
    pieces = [resampler.convert(tone[at : at + 320].tobytes(), last=at == starts[-1]) for at in starts]
    audio = np.frombuffer(b"".join(pieces), "<i2").astype(int)
    assert abs(len(audio) - AGENT_HZ) <= 1
    steepest = 8_000 * 2 * np.pi * 440 / AGENT_HZ
    inner = audio[AGENT_HZ // 10 : -AGENT_HZ // 10]
    assert np.abs(np.diff(inner)).max() < 1.1 * steepest
