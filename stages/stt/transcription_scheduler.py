"""Shares a transcriber between callers. Callers take turns, and finals go before interims."""

import asyncio
from collections import deque
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

import structlog

from stages.runtime.providers import ProviderError
from stages.stt.contract import Transcriber
from stages.stt.postprocess import after
from telemetry.logs import places

AT_LEISURE_S = 0.2  # a job that has waited longer is late already; of 0.1 and 0.2 the fewer wrong words (ADR 14)

log = structlog.get_logger("transcription")


@dataclass(eq=False)
class Job:
    """A stretch of one caller's speech that is to become text.

    start, until: its samples in the caller's audio. final: the result is waited for, so it is not dropped while wanted.
    context: the stretch with audio before it, in which `known` is said: two words are transcribed better behind others.
    queued: loop time in seconds. done: called on the event loop with the job, whose `text` or `failure` is then set.
    """

    owner: Hashable
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
    """The waiting jobs: pure. Each owner has at most one interim, and the finals of its last utterances."""

    def __init__(self) -> None:
        self._finals: dict[Hashable, deque[Job]] = {}
        self._interims: dict[Hashable, Job] = {}

    def put(self, job: Job) -> None:
        """Add a job. An interim replaces the owner's older one, and a final removes it."""
        self._interims.pop(job.owner, None)
        if job.final:
            self._finals.setdefault(job.owner, deque()).append(job)
        else:
            self._interims[job.owner] = job

    @property
    def finals(self) -> int:
        """The number of callers that wait for a final."""
        return len(self._finals)

    def take(self) -> Job | None:
        """Return the next job that is still wanted."""
        while self._finals:
            owner, waiting = next(iter(self._finals.items()))
            job = waiting.popleft()
            del self._finals[owner]
            if waiting:
                self._finals[owner] = waiting  # behind the others
            if job.wanted:
                return job
        while self._interims:
            job = self._interims.pop(next(iter(self._interims)))
            if job.wanted:
                return job
        return None

    def forget(self, owner: Hashable) -> None:
        """Remove the jobs of `owner`."""
        self._finals.pop(owner, None)
        self._interims.pop(owner, None)


class Owner(Hashable, Protocol):
    """A recognizer that puts jobs."""

    def fail(self, error: ProviderError) -> None: ...


class TranscriptionScheduler:
    """Runs `transcribe` for the jobs of all sessions, `at_once` jobs at a time."""

    def __init__(self, transcribe: Transcriber, at_once: int = 1) -> None:
        self._transcribe = transcribe
        self._at_once = at_once
        self._queue = Queue()
        self._wake = asyncio.Event()
        self._owners: set[Owner] = set()
        self._failure: ProviderError | None = None

    def join(self, owner: Owner) -> None:
        """Expect jobs of `owner` until `forget`. Raises ProviderError if the transcriber has stopped."""
        if self._failure is not None:
            raise self._failure
        self._owners.add(owner)

    def forget(self, owner: Owner) -> None:
        """Run no job of `owner` any more."""
        self._owners.discard(owner)
        self._queue.forget(owner)

    def put(self, job: Job) -> None:
        self._queue.put(job)
        self._wake.set()

    @contextmanager
    def working(self) -> Iterator[None]:
        """Run jobs. An error of the transcriber that is no ProviderError fails every session, and is logged."""
        tasks = [asyncio.create_task(self._work(), name="transcription") for _ in range(self._at_once)]
        for task in tasks:
            task.add_done_callback(self._stopped)
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()

    def _stopped(self, task: "asyncio.Task[None]") -> None:
        if task.cancelled():
            return
        error = task.exception()
        assert error is not None, "a worker of the scheduler ends only by an error"
        log.error("transcription stopped", cause=type(error).__name__, places=places(error))
        self._failure = ProviderError("server", f"the transcriber stopped: {type(error).__name__}")
        for owner in list(self._owners):
            owner.fail(self._failure)

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            job = self._queue.take()
            if job is None:
                self._wake.clear()
                await self._wake.wait()
                continue
            if self._queue.finals or loop.time() - job.queued > AT_LEISURE_S:
                job.context = b""  # others wait: transcribe the stretch alone, which takes a third of the time
            try:
                job.text = await self._text_of(job)
            except ProviderError as error:
                job.failure = error
            job.pcm = job.context = b""
            job.done(job)
            del job  # an idle scheduler keeps no words

    async def _text_of(self, job: Job) -> str:
        if job.context and (text := after(job.known, await self._transcribe(job.context))):
            return text
        return await self._transcribe(job.pcm)
