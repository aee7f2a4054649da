"""What the caller says between two silences, on its way to text."""

from typing import NamedTuple

from schemas.audio import CALLER_HZ
from stages.stt.transcription_scheduler import Job

INTERIM_EVERY = CALLER_HZ // 2  # of an open stretch, while the recogniser keeps up


class Said(NamedTuple):
    """An utterance whose final was said, and the samples in which it was."""

    start: int
    until: int
    text: str


class Utterance:
    """One utterance on its way to text: settled stretches, then the open one from sample `begin`."""

    def __init__(self, number: int, onset: int, begin: int) -> None:
        self.number = number
        self.onset = onset
        self.start = self.begin = begin
        self.settled: list[Job] = []
        self.guess: Job | None = None  # the final of the open stretch, begun in a pause
        self.interim: Job | None = None
        self.interim_due = onset + INTERIM_EVERY
        self.said = ""  # the last interim
        self.until = onset
        self.voiced = 0
        self.ended_s: float | None = None  # loop time of its end

    @property
    def ready(self) -> bool:
        return self.ended_s is not None and all(job.text is not None for job in self.settled)

    def text(self, tail: str = "") -> str:
        return " ".join([*(job.text for job in self.settled if job.text), tail]).strip()
