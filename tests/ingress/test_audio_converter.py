"""Audio of other formats reaches the stages as speech at 16 kHz: nothing is lost, shifted or added."""

import numpy as np
import pytest
import soxr
from numpy.typing import NDArray

from schemas.audio import CALLER_HZ
from stages.ingress.audio_converter import AudioConverter
from transports.transport import CALLER_AUDIO, AudioFormat


def tones(hz: int, seconds: float = 1.0) -> NDArray[np.float64]:
    """Two tones of the voice, at a third of full scale."""
    time = np.arange(int(hz * seconds)) / hz
    return (np.sin(2 * np.pi * 300 * time) + np.sin(2 * np.pi * 2_100 * time)) * 32_767 / 6


def converted(audio: AudioFormat, samples: NDArray[np.float64], frame_ms: int = 20) -> NDArray[np.float64]:
    """The samples of all channels, converted message by message."""
    pcm = np.repeat(samples, audio.channels).astype("<i2").tobytes()
    size = audio.bytes_in(frame_ms)
    converter = AudioConverter(audio)
    out = b"".join(converter.convert(pcm[at : at + size]) for at in range(0, len(pcm), size))
    return np.frombuffer(out, "<i2").astype(float)


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("hz", [8_000, 11_025, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000])
@pytest.mark.parametrize("frame_ms", [10, 100])
def test_tones_come_out_as_they_went_in(hz: int, channels: int, frame_ms: int) -> None:
    out = converted(AudioFormat(hz, channels), tones(hz), frame_ms)
    assert len(out) >= 0.85 * CALLER_HZ, "the filter holds 120 ms at most"
    wanted = tones(CALLER_HZ)[: len(out)]
    inside = slice(800, -800)  # the filter begins and ends in silence
    assert np.abs(out - wanted)[inside].max() < 0.01 * 32_767


def test_the_format_of_the_stages_passes_unchanged() -> None:
    pcm = tones(CALLER_HZ).astype("<i2").tobytes()
    assert AudioConverter(CALLER_AUDIO).convert(pcm) is pcm


def test_a_voice_in_one_channel_is_heard_and_two_loud_ones_do_not_overflow() -> None:
    left = np.array([20_000, 0] * 320, "<i2")
    both = np.array([32_767, 32_767, -32_768, -32_768] * 160, "<i2")
    converter = AudioConverter(AudioFormat(CALLER_HZ, 2))
    assert set(np.frombuffer(converter.convert(left.tobytes()), "<i2")) == {10_000}
    assert set(np.frombuffer(converter.convert(both.tobytes()), "<i2")) == {32_767, -32_768}


def test_messages_of_any_size_give_the_same_audio() -> None:
    noise = np.random.default_rng(1).normal(0, 3_000, 48_000)
    one, other = converted(AudioFormat(48_000), noise, 10), converted(AudioFormat(48_000), noise, 90)
    shorter = min(len(one), len(other))
    whole = soxr.resample(noise, 48_000, CALLER_HZ)[:shorter]
    assert np.abs(one[:shorter] - other[:shorter]).max() <= 2, "dither apart"
    assert np.abs(one[:shorter] - whole)[:-800].max() < 30
