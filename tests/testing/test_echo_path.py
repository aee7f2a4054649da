"""The echo of a speakerphone: as late and as quiet as it was asked for, and the caller's voice beside it."""

import numpy as np
import pytest

from antiphon_testing.echo_path import EchoPath
from schemas.audio import AGENT_FRAME_BYTES, AGENT_HZ, CALLER_FRAME_BYTES, CALLER_HZ


@pytest.mark.parametrize("level_db", [-20.0, -40.0])
def test_the_agent_comes_back_later_and_quieter(level_db: float) -> None:
    tone = np.sin(2 * np.pi * 440 * np.arange(AGENT_HZ) / AGENT_HZ) * 30_000
    pcm, path = tone.astype("<i2").tobytes(), EchoPath(level_db, delay_ms=150)
    back = b""
    for at in range(0, len(pcm), AGENT_FRAME_BYTES):
        back += path.mix(bytes(CALLER_FRAME_BYTES))  # a frame is sent, and meanwhile one is heard
        path.hear(pcm[at : at + AGENT_FRAME_BYTES])
    samples = np.frombuffer(back, "<i2").astype(float)
    first = int(np.flatnonzero(np.abs(samples) > 10)[0])
    assert abs(first - CALLER_HZ * 150 // 1000) < CALLER_HZ * 5 // 1000
    assert abs(20 * np.log10(samples[first + 800 :].max() / 30_000) - level_db) < 0.5


def test_the_callers_voice_is_added_and_does_not_overflow() -> None:
    path = EchoPath(-1.0, delay_ms=0)
    path.hear(np.full(AGENT_HZ, 30_000, "<i2").tobytes())
    loud = np.full(CALLER_FRAME_BYTES // 2, 30_000, "<i2").tobytes()
    mixed = np.frombuffer(b"".join(path.mix(loud) for _ in range(10)), "<i2")
    assert mixed.max() == 32_767
    assert np.frombuffer(EchoPath(-20.0).mix(loud), "<i2").tolist() == [30_000] * (CALLER_FRAME_BYTES // 2)
