"""Audio files: read any WAV or FLAC, write PCM16 WAV files, each whole or not at all."""

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

MAX_FILE_S = 2 * 3600  # no caller speaks longer, and this is 230 MB of samples
BLOCK_S = 10  # read at a time: a long file of many channels is never in memory whole
MAX_HZ = 384_000  # the highest rate of studio converters; a header with more is broken


class BadAudio(WrongUse):
    """Raised for a file that cannot be read or written as audio. The text is one line with cause and remedy."""


def read_pcm(path: Path, hz: int = CALLER_HZ) -> bytes:
    """Return a file as PCM16 mono at `hz`: channels are mixed, other rates resampled. Raises BadAudio."""
    import numpy
    import soundfile
    import soxr

    _check(path)
    try:
        with soundfile.SoundFile(path) as source:
            if not 0 < source.samplerate <= MAX_HZ:
                raise BadAudio(f"cannot read {path}: its header says {source.samplerate} Hz. Convert it to WAV again.")
            resampler = soxr.ResampleStream(source.samplerate, hz, 1, dtype="float32")
            pieces = [to_pcm16(resampler.resample_chunk(block)) for block in _mono_blocks(source, path)]
            pieces.append(to_pcm16(resampler.resample_chunk(numpy.zeros(0, "float32"), last=True)))
    except soundfile.LibsndfileError:
        raise BadAudio(f"cannot read {path}: it is no audio of a known format. Give a WAV or FLAC file.") from None
    except OSError as error:
        raise BadAudio(f"cannot read {path}: {error.strerror or error}") from None
    pcm = b"".join(pieces)
    if not pcm:
        raise BadAudio(f"cannot use {path}: it holds no samples. Give a recording of at least one.")
    return pcm


def check_writable(path: Path) -> None:
    """Raise BadAudio if a file cannot be written at `path`: before the call rather than after it."""
    if path.is_dir():
        raise BadAudio(f"cannot write {path}: it is a folder. Name a file in it.")
    if not path.absolute().parent.is_dir():
        raise BadAudio(f"cannot write {path}: the folder {path.absolute().parent} does not exist. Make it first.")
    if not os.access(path.absolute().parent, os.W_OK):
        raise BadAudio(f"cannot write {path}: the folder {path.absolute().parent} is read-only. Choose another.")


def write_wav(path: Path, blocks: Iterator[bytes], hz: int, channels: int = 1) -> None:
    """Write PCM16 blocks with interleaved channels as a WAV file, which appears when it is whole. Raises BadAudio."""
    with replacing(path) as file, wave.open(file, "wb") as wav:
        wav.setparams((channels, SAMPLE_BYTES, hz, 0, "NONE", ""))
        for block in blocks:
            wav.writeframesraw(block)


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """Yield a file that becomes `path` at the end, and is removed after an exception. Raises BadAudio."""
    check_writable(path)
    try:
        with tempfile.NamedTemporaryFile(dir=path.absolute().parent, prefix=f".{path.name}.", delete=False) as file:
            try:
                yield file
                file.flush()
                os.chmod(file.name, 0o644)  # a temporary file is private, a recording is not
                os.replace(file.name, path)
            except BaseException:
                with suppress(OSError):
                    os.unlink(file.name)
                raise
    except OSError as error:
        raise BadAudio(f"cannot write {path}: {error.strerror or error}") from None


def _check(path: Path) -> None:
    if path.is_dir():
        raise BadAudio(f"cannot read {path}: it is a folder. Give a WAV or FLAC file.")
    try:
        size = path.stat().st_size
    except FileNotFoundError:
        raise BadAudio(f"cannot read {path}: there is no such file. Check its name.") from None
    except OSError as error:
        raise BadAudio(f"cannot read {path}: {error.strerror}") from None
    if not path.is_file():
        raise BadAudio(f"cannot read {path}: it is not a file. Give a WAV or FLAC file.")
    if not size:
        raise BadAudio(f"cannot read {path}: it is empty. Give a WAV or FLAC file.")


def _mono_blocks(source: "soundfile.SoundFile", path: Path) -> "Iterator[numpy.ndarray[Any, Any]]":
    """Yield the file mixed to one channel. The blocks are counted, because a header may lie about the length."""
    frames = 0
    while len(block := source.read(BLOCK_S * source.samplerate, dtype="float32", always_2d=True)):
        frames += len(block)
        if frames > MAX_FILE_S * source.samplerate:
            raise BadAudio(
                f"cannot read {path}: it is longer than {MAX_FILE_S // 3600} hours. Cut it into shorter files."
            )
        yield block.mean(axis=1)
