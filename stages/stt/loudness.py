"""VAD by loudness: the `script` engine, for scripted sessions and tests. Pure.

It needs no model and no processor time, and reports speech with the frame in which it begins or ends. So figures of
two machines compare. A hum counts as speech.
"""

from collections.abc import Callable
from functools import lru_cache

import numpy as np

from schemas.audio import SAMPLE_BYTES
from stages.stt.contract import SpeechListener
from stages.stt.voice_activity import Offset, Onset

LOUD = 328  # 1 % of full scale: above the dither of converters, below any speech


def loud(pcm: bytes) -> bool:
    """Return whether any sample of PCM16 is louder than LOUD."""
    if pcm.count(0) == len(pcm):  # most frames of a silent caller, found without numpy
        return False
    return _any_loud(pcm)


@lru_cache(maxsize=1)  # the scripted recognizer asks about the frame that VAD has just asked about
def _any_loud(pcm: bytes) -> bool:
    samples = np.frombuffer(pcm, "<i2")
    return bool(samples.max() > LOUD or samples.min() < -LOUD)


def peak(pcm: bytes) -> int:
    """Return the magnitude of the loudest sample of PCM16."""
    return int(np.abs(np.frombuffer(pcm, "<i2").astype(np.int32)).max(initial=0))


def loud_samples(pcm: bytes) -> list[int]:
    """Return the positions of the samples that are louder than LOUD, ascending."""
    found: list[int] = np.flatnonzero(np.abs(np.frombuffer(pcm, "<i2").astype(np.int32)) > LOUD).tolist()
    return found


class LoudnessDetector:
    """Detects the speech of one caller: from the first loud sample to the first frame without one."""

    def __init__(self) -> None:
        self.speaking = False
        self.silence = 0
        self.voiced = 0
        self.end = 0
        self._loud = b"", 0  # the last loud frame and its first sample
        self._listeners: list[SpeechListener] = []
        self._judged: list[Callable[[int], None]] = []

    def follow(self, listener: SpeechListener, judged: Callable[[int], None] | None = None) -> None:
        self._listeners.append(listener)
        if judged is not None:
            self._judged.append(judged)

    def feed(self, pcm: bytes, at_sample: int) -> None:
        self.end = at_sample + len(pcm) // SAMPLE_BYTES
        if loud(pcm):
            self._loud = pcm, at_sample
            if not self.speaking:
                self._start(at_sample + loud_samples(pcm)[0])
            self.voiced += len(pcm) // SAMPLE_BYTES
        elif self.speaking and pcm:
            self.stop()
        for judged in self._judged:
            judged(self.end)

    async def catch_up(self) -> None:
        """Return at once: each frame is judged when it comes."""

    def stop(self) -> None:
        if not self.speaking:
            return
        pcm, at = self._loud
        until = at + loud_samples(pcm)[-1] + 1  # looked for at the end only, and not in every frame
        self.speaking = False
        for listener in self._listeners:
            listener.speech_ended(Offset(until, self.end - until, self.voiced))

    def close(self) -> None:
        self._listeners.clear()
        self._judged.clear()

    def _start(self, at: int) -> None:
        self.speaking, self.voiced = True, 0
        for listener in self._listeners:
            listener.speech_started(Onset(at))


class LoudnessEngine:
    """The `script` engine: every caller for itself."""

    name = "script"

    def open(self, fail: Callable[[BaseException], None]) -> LoudnessDetector:
        """Return a detector for one caller. It runs within `feed`, so it never calls `fail`."""
        return LoudnessDetector()
