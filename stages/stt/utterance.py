"""The speech between two silences, on its way through the segmenting recognizer to text."""

from typing import NamedTuple

from schemas.audio import CALLER_HZ
from stages.stt.transcription_scheduler import Job

INTERIM_EVERY = CALLER_HZ // 2  # of an open stretch, while the transcriber keeps up


class Transcribed(NamedTuple):
    """An utterance that has its text, and the samples of its audio."""

    start: int
    until: int
    text: str


class Utterance:
    """Settled stretches, then the open one from sample `begin`."""

    def __init__(self, onset: int, begin: int) -> None:
        self.onset = onset
        self.start = self.begin = begin
        self.settled: list[Job] = []
        self.guess: Job | None = None  # the final of the open stretch, begun in a pause
        self.interim: Job | None = None
        self.interim_due = onset + INTERIM_EVERY
        self.interim_text = ""  # the last that was published
        self.until = onset
        self.voiced = 0
        self.ended = False

    @property
    def ready(self) -> bool:
        return self.ended and all(job.text is not None for job in self.settled)

    def text(self, tail: str = "") -> str:
        return " ".join([*(job.text for job in self.settled if job.text), tail]).strip()
