"""Recordings of pre-connect audio, decoded as clients send them."""

import random
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon_testing.speech import INSTALLED, WHY_NOT, recording
from schemas.audio import CALLER_HZ, SAMPLE_BYTES
from tests.transports.livekit.audio import WEBM, noise, opus, seconds
from transports.livekit.recording import MAX_S, BadRecording, decode


def alike(one: bytes, other: bytes) -> float:
    """Correlation of two sounds that begin together, 30 ms at most apart."""
    size = min(len(one), len(other)) // SAMPLE_BYTES
    a, b = (np.frombuffer(pcm, "<i2")[:size].astype(np.float64) for pcm in (one, other))
    scores = [np.corrcoef(a[shift:], b[: size - shift])[0, 1] for shift in range(0, seconds(0.03), 4)]
    scores += [np.corrcoef(b[shift:], a[: size - shift])[0, 1] for shift in range(0, seconds(0.03), 4)]
    return float(max(scores))


@pytest.mark.skipif(not INSTALLED, reason=WHY_NOT)
@pytest.mark.parametrize("cut", [0, 900])
def test_what_a_browser_records_is_read_even_without_its_end(cut: int) -> None:
    said = recording("beckett")[: SAMPLE_BYTES * seconds(3)]
    data = opus(said)
    read = decode(data[: len(data) - cut], WEBM, {})
    assert abs(len(read) - len(said)) < SAMPLE_BYTES * seconds(0.5)
    assert alike(read, said) > 0.9


def test_what_browsers_of_telephones_record_is_read() -> None:
    assert len(decode(opus(noise(2), "mp4"), "video/mp4", {})) > SAMPLE_BYTES * seconds(1.9)


@pytest.mark.parametrize(("rate", "channels"), [(16_000, 1), (24_000, 1), (48_000, 2)])
def test_samples_are_read_as_they_are_said_to_be(rate: int, channels: int) -> None:
    wave = (10_000 * np.sin(np.arange(rate) * 2 * np.pi * 300 / rate)).astype("<i2")
    read = decode(np.repeat(wave, channels).tobytes(), "", {"sampleRate": str(rate), "channels": str(channels)})
    assert abs(len(read) // SAMPLE_BYTES - CALLER_HZ) < seconds(0.02)
    spectrum = np.abs(np.fft.rfft(np.frombuffer(read, "<i2")))
    assert abs(int(np.argmax(spectrum)) * CALLER_HZ / (len(read) // SAMPLE_BYTES) - 300) < 3


def test_it_is_no_longer_than_clients_record() -> None:
    assert len(decode(noise(MAX_S + 5), "", {"sampleRate": "16000", "channels": "1"})) == SAMPLE_BYTES * seconds(MAX_S)


@pytest.mark.parametrize(
    ("data", "mime", "attributes", "why"),
    [
        (b"", WEBM, {}, "cannot be read"),
        (b"rubbish" * 100, WEBM, {}, "cannot be read"),
        (bytes(100), "", {}, "not given"),
        (bytes(100), "", {"sampleRate": "loud", "channels": "1"}, "not given"),
        (bytes(100), "audio/pcm", {"sampleRate": "16000", "channels": "7"}, "7 channels"),
        (bytes(100), "audio/pcm", {"sampleRate": "1", "channels": "1"}, "1 Hz"),
        (b"x", "", {"sampleRate": "16000", "channels": "1"}, "empty"),
        (bytes(100), "image/png", {}, "none of"),
    ],
)
def test_rubbish_is_refused(data: bytes, mime: str, attributes: dict[str, str], why: str) -> None:
    with pytest.raises(BadRecording, match=why):
        decode(data, mime, attributes)


@given(st.integers(0, 2**32), st.integers(1, 40))
def test_a_broken_recording_is_read_or_refused(seed: int, breaks: int) -> None:
    data = bytearray(opus(noise(0.5)))
    chance = random.Random(seed)
    for _ in range(breaks):
        data[chance.randrange(len(data))] = chance.randrange(256)
    with suppress(BadRecording):
        assert len(decode(bytes(data), WEBM, {})) % SAMPLE_BYTES == 0
