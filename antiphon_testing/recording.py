"""The two lines of a call on one clock, kept on disk: an hour of both is 300 MB, too much for memory."""

import tempfile
from collections.abc import Iterator
from typing import IO, TYPE_CHECKING, Any

from antiphon_testing.resampling import resample
from schemas.audio import AGENT_HZ, CALLER_HZ, SAMPLE_BYTES

if TYPE_CHECKING:
    import numpy

BLOCK_BYTES = 64_000  # two seconds of the caller's line: read and written at a time


class Recording:
    """The caller's audio (16 kHz) and the agent's (24 kHz), sample 0 of both at the same moment."""

    def __init__(self) -> None:
        self._sent = tempfile.TemporaryFile()  # noqa: SIM115 - the recording closes it
        self._heard = tempfile.TemporaryFile()  # noqa: SIM115

    def __enter__(self) -> "Recording":
        return self

    def __exit__(self, *exc: object) -> None:
        self._sent.close()
        self._heard.close()

    def sent(self, pcm: bytes) -> None:
        """Append PCM16 that the caller has spoken."""
        self._sent.write(pcm)

    def heard(self, pcm: bytes) -> None:
        """Append PCM16 that the caller has heard, silence included."""
        self._heard.write(pcm)

    @property
    def seconds(self) -> float:
        """Return the length of the caller's line."""
        return self._sent.tell() / SAMPLE_BYTES / CALLER_HZ

    def heard_blocks(self) -> Iterator[bytes]:
        """Yield the audio that the caller heard: PCM16 mono at 24 kHz, two seconds or less at a time."""
        return _blocks(self._heard)

    def lines(self, hz: int) -> "tuple[numpy.ndarray[Any, Any], numpy.ndarray[Any, Any]]":
        """Return caller and agent as int16 samples at a rate low enough to hold them in memory."""
        import numpy

        caller = b"".join(resample(_blocks(self._sent), CALLER_HZ, hz))
        agent = b"".join(resample(_blocks(self._heard), AGENT_HZ, hz))
        return numpy.frombuffer(caller, "<i2"), numpy.frombuffer(agent, "<i2")

    def stereo_blocks(self) -> Iterator[bytes]:
        """Yield both lines at 24 kHz, caller left, agent right: interleaved PCM16 in blocks."""
        import numpy

        self._heard.seek(0)
        for left in resample(_blocks(self._sent), CALLER_HZ, AGENT_HZ):
            right = self._heard.read(len(left)).ljust(len(left), b"\x00")
            both = numpy.stack([numpy.frombuffer(left, "<i2"), numpy.frombuffer(right, "<i2")], axis=1)
            yield both.tobytes()


def _blocks(file: IO[bytes]) -> Iterator[bytes]:
    file.seek(0)
    while block := file.read(BLOCK_BYTES):
        yield block
