"""Audio files at the edge of the pipeline: any WAV or FLAC in, PCM16 WAV out, each written whole or not at all."""

import os
import tempfile
import wave
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from antiphon_testing.resampling import to_pcm16
from cli.errors import WrongUse
from schemas.audio import CALLER_HZ, SAMPLE_BYTES

if TYPE_CHECKING:
    import numpy
    import soundfile

MAX_FILE_S = 2 * 3600  # a caller does not speak longer, and this is 230 MB of samples
BLOCK_S = 10  # read at a time, so that a long file in many channels never lies in memory whole
MAX_HZ = 384_000  # studio converters end here; a header that says more is broken


class BadAudio(WrongUse):
    """A file that cannot be used as audio, in one line that says what to do."""


def read_pcm(path: Path, hz: int = CALLER_HZ) -> bytes:
    """The file as PCM16 mono at `hz`: channels are mixed, other rates resampled. Raises BadAudio."""
    import numpy
    import soundfile
    import soxr

    _check(path)
    try:
        with soundfile.SoundFile(path) as source:
            if not 0 < source.samplerate <= MAX_HZ:
                raise BadAudio(
                    f"{path}: a sample rate of {source.samplerate} Hz cannot be right: convert it to WAV again"
                )
            resampler = soxr.ResampleStream(source.samplerate, hz, 1, dtype="float32")
            pieces = [to_pcm16(resampler.resample_chunk(block)) for block in _mono_blocks(source, path)]
            pieces.append(to_pcm16(resampler.resample_chunk(numpy.zeros(0, "float32"), last=True)))
    except soundfile.LibsndfileError:
        raise BadAudio(f"{path} is not audio that can be read here: give a WAV or FLAC file") from None
    except OSError as error:
        raise BadAudio(f"{path} cannot be read: {error.strerror or error}") from None
    pcm = b"".join(pieces)
    if not pcm:
        raise BadAudio(f"{path} holds no samples: give a recording of at least one")
    return pcm


def check_writable(path: Path) -> None:
    """Raises BadAudio now if a file could not be written there after the call."""
    if path.is_dir():
        raise BadAudio(f"{path} is a folder: name a file in it")
    if not path.absolute().parent.is_dir():
        raise BadAudio(f"the folder {path.absolute().parent} does not exist: make it first")
    if not os.access(path.absolute().parent, os.W_OK):
        raise BadAudio(f"the folder {path.absolute().parent} cannot be written to: choose another")


def write_wav(path: Path, blocks: Iterator[bytes], hz: int, channels: int = 1) -> None:
    """PCM16, samples of the channels interleaved. The file appears when it is whole. Raises BadAudio."""
    with replacing(path) as file, wave.open(file, "wb") as wav:
        wav.setparams((channels, SAMPLE_BYTES, hz, 0, "NONE", ""))
        for block in blocks:
            wav.writeframesraw(block)


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """A file beside `path` that takes its place when all went well, and is gone when not. Raises BadAudio."""
    check_writable(path)
    try:
        with tempfile.NamedTemporaryFile(dir=path.absolute().parent, prefix=f".{path.name}.", delete=False) as file:
            try:
                yield file
                file.flush()
                os.chmod(file.name, 0o644)  # a temporary file is private; a recording is an ordinary file
                os.replace(file.name, path)
            except BaseException:
                with suppress(OSError):
                    os.unlink(file.name)
                raise
    except OSError as error:
        raise BadAudio(f"{path} cannot be written: {error.strerror or error}") from None


def _check(path: Path) -> None:
    if path.is_dir():
        raise BadAudio(f"{path} is a folder: give a WAV or FLAC file")
    try:
        size = path.stat().st_size
    except FileNotFoundError:
        raise BadAudio(f"there is no file {path}: check its name") from None
    except OSError as error:
        raise BadAudio(f"{path} cannot be read: {error.strerror}") from None
    if not path.is_file():
        raise BadAudio(f"{path} is not a file: give a WAV or FLAC file")
    if not size:
        raise BadAudio(f"{path} is empty: give a WAV or FLAC file with sound in it")


def _mono_blocks(source: "soundfile.SoundFile", path: Path) -> "Iterator[numpy.ndarray[Any, Any]]":
    """The file mixed to one channel. The length is counted as it is read: a header may promise anything."""
    frames = 0
    while len(block := source.read(BLOCK_S * source.samplerate, dtype="float32", always_2d=True)):
        frames += len(block)
        if frames > MAX_FILE_S * source.samplerate:
            raise BadAudio(f"{path} is longer than {MAX_FILE_S // 3600} hours: cut it into shorter files")
        yield block.mean(axis=1)
