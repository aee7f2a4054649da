"""Whatever a person calls a recording is converted, and what is none is refused in one line."""

import os
import struct
import wave
from pathlib import Path
from typing import Any

import numpy
import pytest
import soundfile

from cli.audiofile import MAX_FILE_S, BadAudio, read_pcm, write_wav
from schemas.audio import AGENT_HZ, CALLER_HZ

TONE_HZ = 440
SECONDS = 0.5


def tone(hz: int, channels: int = 1, level: float = 0.5) -> Any:
    time = numpy.arange(int(hz * SECONDS)) / hz
    line = level * numpy.sin(2 * numpy.pi * TONE_HZ * time)
    return line if channels == 1 else numpy.stack([line] * channels, axis=1)


def pitch(pcm: bytes, hz: int) -> float:
    samples = numpy.frombuffer(pcm, "<i2").astype(float)
    spectrum = numpy.abs(numpy.fft.rfft(samples * numpy.hanning(len(samples))))
    return float(numpy.argmax(spectrum) * hz / len(samples))


def level(pcm: bytes) -> float:
    middle = numpy.frombuffer(pcm, "<i2")[1_000:-1_000].astype(float)
    return float(numpy.sqrt((middle**2).mean()) / 32768)


@pytest.mark.parametrize("hz", [8_000, 16_000, 22_050, 44_100, 48_000])
@pytest.mark.parametrize(
    ("suffix", "subtype", "kind"),
    [
        ("wav", "PCM_16", "WAV"),
        ("wav", "PCM_U8", "WAV"),
        ("wav", "PCM_24", "WAV"),
        ("wav", "PCM_32", "WAV"),
        ("wav", "FLOAT", "WAV"),
        ("wav", "DOUBLE", "WAV"),
        ("wav", "ULAW", "WAV"),
        ("wav", "ALAW", "WAV"),
        ("wav", "PCM_16", "WAVEX"),
        ("wav", "PCM_24", "WAVEX"),
        ("flac", "PCM_16", "FLAC"),
        ("flac", "PCM_24", "FLAC"),
    ],
)
@pytest.mark.parametrize("channels", [1, 2])
def test_it_is_converted_not_refused(
    tmp_path: Path, hz: int, suffix: str, subtype: str, kind: str, channels: int
) -> None:
    path = tmp_path / f"tone.{suffix}"
    soundfile.write(path, tone(hz, channels), hz, subtype=subtype, format=kind)
    pcm = read_pcm(path)
    assert abs(len(pcm) // 2 - CALLER_HZ * SECONDS) <= 1
    assert pitch(pcm, CALLER_HZ) == pytest.approx(TONE_HZ, abs=3)
    assert level(pcm) == pytest.approx(0.5 / 2**0.5, rel=0.03)


def test_what_is_16_khz_already_comes_through_unchanged(tmp_path: Path) -> None:
    path = tmp_path / "speech.wav"
    pcm = (tone(CALLER_HZ) * 32767).astype("<i2").tobytes()
    write_wav(path, iter([pcm]), CALLER_HZ)
    assert read_pcm(path) == pcm


def test_both_sides_of_a_stereo_recording_are_heard(tmp_path: Path) -> None:
    path = tmp_path / "sides.wav"
    line = tone(CALLER_HZ)
    soundfile.write(path, numpy.stack([line, numpy.zeros_like(line)], axis=1), CALLER_HZ)
    assert level(read_pcm(path)) == pytest.approx(0.25 / 2**0.5, rel=0.01)


def test_a_float_file_may_hold_anything(tmp_path: Path) -> None:
    path = tmp_path / "wild.wav"
    soundfile.write(path, numpy.array([0.0, numpy.nan, 7.0, -7.0] * 100), CALLER_HZ, subtype="FLOAT")
    samples = numpy.frombuffer(read_pcm(path), "<i2")
    assert samples[1::4].tolist() == [0] * 100
    assert samples[2::4].tolist() == [32767] * 100
    assert samples[3::4].tolist() == [-32768] * 100


def test_a_recorder_that_never_wrote_the_length_is_read_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "stream.wav"
    write_wav(path, iter([bytes(3_200)]), CALLER_HZ)
    data = bytearray(path.read_bytes())
    data[4:8] = data[40:44] = struct.pack("<I", 0xFFFFFFFF)
    path.write_bytes(data)
    assert len(read_pcm(path)) == 3_200


def text(path: Path) -> None:
    path.write_text("RIFF is what this is about, but it is a letter")


def empty(path: Path) -> None:
    path.touch()


def no_samples(path: Path) -> None:
    write_wav(path, iter(()), CALLER_HZ)


def cut_off(path: Path) -> None:
    write_wav(path, iter([bytes(3_200)]), CALLER_HZ)
    path.write_bytes(path.read_bytes()[:30])


def far_too_long(path: Path) -> None:
    with wave.open(str(path), "wb") as wav:
        wav.setparams((1, 1, 100, 0, "NONE", ""))
        wav.writeframes(bytes(100 * (MAX_FILE_S + 1)))


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (text, "it is no audio of a known format. Give a WAV or FLAC file."),
        (cut_off, "it is no audio of a known format. Give a WAV or FLAC file."),
        (empty, "it is empty. Give a WAV or FLAC file."),
        (no_samples, "holds no samples"),
        (far_too_long, "is longer than 2 hours. Cut it into shorter files."),
        (Path.mkdir, "it is a folder. Give a WAV or FLAC file."),
        (os.mkfifo, "is not a file. Give a WAV or FLAC file."),
        (lambda path: None, "Check its name"),
        (lambda path: path.symlink_to(path), "cannot read"),
    ],
)
def test_what_is_no_recording_is_refused_in_one_line(tmp_path: Path, make: Any, says: str) -> None:
    path = tmp_path / "thing.wav"
    make(path)
    with pytest.raises(BadAudio) as refused:
        read_pcm(path)
    assert says in str(refused.value)
    assert str(path) in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_stereo_file_is_what_was_written(tmp_path: Path) -> None:
    path = tmp_path / "call.wav"
    write_wav(path, iter([b"\x01\x00\x02\x00", b"\x03\x00\x04\x00"]), AGENT_HZ, channels=2)
    samples, hz = soundfile.read(path, dtype="int16")
    assert (samples.tolist(), hz) == ([[1, 2], [3, 4]], AGENT_HZ)


def test_nothing_half_written_is_left_behind(tmp_path: Path) -> None:
    path = tmp_path / "call.wav"
    path.write_text("an older recording")

    def fails() -> Any:
        yield bytes(100)
        raise RuntimeError("the call broke")

    with pytest.raises(RuntimeError):
        write_wav(path, fails(), AGENT_HZ)
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("call.wav", "an older recording")]


@pytest.mark.parametrize(("where", "says"), [("nowhere/call.wav", "does not exist"), ("", "is a folder")])
def test_a_place_that_cannot_be_written_to_is_said(tmp_path: Path, where: str, says: str) -> None:
    with pytest.raises(BadAudio, match=says):
        write_wav(tmp_path / where, iter([b""]), AGENT_HZ)
