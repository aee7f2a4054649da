"""One recogniser for many callers: whose audio is read next. Owners take turns, and finals go before guesses."""

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Any

from stages.runtime.providers import ProviderError
from stages.stt.postprocess import after

AT_LEISURE_S = 0.2  # a job that has waited longer is late already; of 0.1 and 0.2 the fewer wrong words (ADR 14)


@dataclass(eq=False)
class Job:
    """A stretch of one caller's speech that is to become text.

    start, until: its samples on the caller's line. final: it will be waited for, so it is not dropped while wanted.
    context: the same with audio before it, in which `known` is said: two words are read better behind others.
    queued: when, on the loop's clock. done: called on the event loop with the job, whose `text` is then set, or whose
    `failure` is.
    """

    owner: Any
    pcm: bytes
    start: int
    until: int
    final: bool
    done: Callable[["Job"], None]
    queued: float = 0.0
    context: bytes = b""
    known: str = ""
    wanted: bool = True
    text: str | None = None
    failure: ProviderError | None = field(default=None, repr=False)


class Queue:
    """What waits: pure. Bounded by its owners: each has at most one guess, and the finals of its last utterances."""

    def __init__(self) -> None:
        self._finals: dict[Any, deque[Job]] = {}
        self._guesses: dict[Any, Job] = {}

    def put(self, job: Job) -> None:
        """A guess replaces the owner's older one; a final makes it needless."""
        self._guesses.pop(job.owner, None)
        if job.final:
            self._finals.setdefault(job.owner, deque()).append(job)
        else:
            self._guesses[job.owner] = job

    @property
    def finals(self) -> int:
        """How many callers wait for one."""
        return len(self._finals)

    def take(self) -> Job | None:
        """The next job that is still wanted."""
        while self._finals:
            owner, waiting = next(iter(self._finals.items()))
            job = waiting.popleft()
            del self._finals[owner]
            if waiting:
                self._finals[owner] = waiting  # behind the others
            if job.wanted:
                return job
        while self._guesses:
            job = self._guesses.pop(next(iter(self._guesses)))
            if job.wanted:
                return job
        return None

    def forget(self, owner: Any) -> None:
        self._finals.pop(owner, None)
        self._guesses.pop(owner, None)


class TranscriptionScheduler:
    """Runs `transcribe` in `thread`, one job at a time."""

    def __init__(self, transcribe: Callable[[bytes], str], thread: Executor) -> None:
        self._transcribe = transcribe
        self._thread = thread
        self._queue = Queue()
        self._wake = asyncio.Event()

    def put(self, job: Job) -> None:
        self._queue.put(job)
        self._wake.set()

    def forget(self, owner: Any) -> None:
        self._queue.forget(owner)

    async def work(self) -> None:
        """Until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            job = self._queue.take()
            if job is None:
                self._wake.clear()
                await self._wake.wait()
                continue
            if self._queue.finals or loop.time() - job.queued > AT_LEISURE_S:
                job.context = b""  # others wait: read the stretch alone, which takes a third of the time
            try:
                job.text = await loop.run_in_executor(self._thread, self._read, job)
            except ProviderError as error:
                job.failure = error
            job.pcm = job.context = b""
            job.done(job)
            del job  # an idle desk keeps nobody's words

    def _read(self, job: Job) -> str:
        if job.context and (text := after(job.known, self._transcribe(job.context))):
            return text
        return self._transcribe(job.pcm)
