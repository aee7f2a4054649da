"""Resampling in blocks, and the limits of PCM16."""

import numpy

from antiphon_testing.resampling import resample, to_pcm16
from schemas.audio import AGENT_HZ, CALLER_HZ


def test_resampling_in_blocks_is_as_exact_as_in_one_piece() -> None:
    tone = 0.5 * numpy.sin(2 * numpy.pi * 440 * numpy.arange(CALLER_HZ) / CALLER_HZ)
    pcm = (tone * 30_000).astype("<i2").tobytes()
    blocks = [pcm[at : at + 640] for at in range(0, len(pcm), 640)]
    pieces = b"".join(resample(iter(blocks), CALLER_HZ, AGENT_HZ))
    whole = b"".join(resample(iter([pcm]), CALLER_HZ, AGENT_HZ))
    assert len(pieces) == len(pcm) * 3 // 2
    assert numpy.abs(numpy.frombuffer(pieces, "<i2").astype(int) - numpy.frombuffer(whole, "<i2")).max() <= 1


def test_samples_beyond_full_scale_are_clipped_and_nonsense_is_silent() -> None:
    samples = numpy.array([0.0, 2.0, -2.0, numpy.nan, numpy.inf], "float32")
    assert numpy.frombuffer(to_pcm16(samples), "<i2").tolist() == [0, 32767, -32768, 0, 32767]
