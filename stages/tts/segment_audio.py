"""The audio of one segment as the synthesizer delivers it: brought to 24 kHz, counted, and judged. Pure."""

import numpy as np

from schemas.audio import AGENT_HZ, SAMPLE_BYTES, samples_to_ms
from schemas.events import Word
from stages.tts.contract import AudioChunk
from stages.tts.resampler import Resampler

SILENT_PEAK = 32  # of 32,768: -60 dBFS, far below speech and above the rounding errors of a vendor that sends silence


class SegmentAudio:
    """Takes the chunks of one segment in order.

    samples: those at 24 kHz so far. audible: some of them are not silence. words: their times, as far as known.
    """

    def __init__(self) -> None:
        self.samples = 0
        self.audible = False
        self.words: tuple[Word, ...] = ()
        self._resampler: Resampler | None = None

    def take(self, chunk: AudioChunk) -> bytes:
        """Return the PCM16 mono at 24 kHz that is ready; may be empty."""
        if self._resampler is None:
            self._resampler = Resampler(chunk.rate)
        pcm = self._resampler.convert(chunk.pcm, last=chunk.last_of_segment)
        self.samples += len(pcm) // SAMPLE_BYTES
        self.audible = self.audible or sounds(pcm)
        self.words += chunk.words
        return pcm

    @property
    def duration_ms(self) -> int:
        return samples_to_ms(self.samples, AGENT_HZ)


def sounds(pcm: bytes) -> bool:
    """Return whether any sample of PCM16 mono is louder than SILENT_PEAK."""
    samples = np.frombuffer(pcm, "<i2")
    return bool(samples.size) and bool(samples.max() > SILENT_PEAK or samples.min() < -SILENT_PEAK)
