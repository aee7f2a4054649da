"""The way of the agent's sound back into the caller's microphone: quieter and later, as on a speakerphone."""

from schemas.audio import AGENT_HZ, CALLER_HZ, SAMPLE_BYTES


class EchoPath:
    """level_db: of the echo, relative to the agent's sound; below 0. delay_ms: from the loudspeaker to the sent frame.

    The delay is at least 60 ms: the frame being heard, and what the resampler holds back.
    """

    def __init__(self, level_db: float, delay_ms: int = 150) -> None:
        import soxr

        self._gain = 10 ** (level_db / 20)
        self._resampler = soxr.ResampleStream(AGENT_HZ, CALLER_HZ, 1, dtype="int16")
        self._waiting = bytearray(CALLER_HZ * delay_ms // 1000 * SAMPLE_BYTES)

    def hear(self, pcm: bytes) -> None:
        """Take PCM16 mono at 24 kHz that the caller has just heard, silence included."""
        import numpy

        self._waiting += self._resampler.resample_chunk(numpy.frombuffer(pcm, "<i2")).astype("<i2").tobytes()

    def mix(self, frame: bytes) -> bytes:
        """Return the next frame of the caller's microphone, PCM16 mono at 16 kHz, with the echo in it."""
        import numpy

        echo = bytes(self._waiting[: len(frame)]).ljust(len(frame), b"\x00")
        del self._waiting[: len(frame)]
        mixed = numpy.frombuffer(frame, "<i2") + self._gain * numpy.frombuffer(echo, "<i2")
        return bytes(mixed.round().clip(-32_768, 32_767).astype("<i2").tobytes())
