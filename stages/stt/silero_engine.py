"""The `silero` engine of VAD: windows of all callers of a worker that come close after each other share a run.

Where callers are few, a window that may begin or end speech waits for no other.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Executor
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

import structlog

from schemas.audio import CALLER_HZ
from session.audio_buffer import AudioBuffer
from stages.runtime.engine_thread import engine_thread
from stages.runtime.providers import ProviderError, ProviderMissing
from stages.stt.contract import SpeechListener
from stages.stt.silero import WINDOW_BYTES, Memory, Run, load, probabilities
from stages.stt.voice_activity import LONGEST_GAP, WINDOW, Offset, Onset, VoiceActivity
from telemetry.logs import places

FEW = 8  # callers: their run takes 1.5 ms, and to hand it to the thread and back would take 0.2 ms more
# A window of each caller: a run that finds the processor's caches cold takes 1 ms for one caller and 1.2 ms for four.
GATHER_S = 0.032
GATHER_MANY_S = 0.016  # the batch is large by then, and a worker that waits longer falls behind
NICENESS = 2  # before the engines, since the agent must fall silent when the caller speaks; behind all pacing of audio
MOST_BEHIND = 20 * CALLER_HZ  # of an engine that will never catch up; a gap makes half of it
BLOCK = 4 * WINDOW  # of the buffer, which holds little more than the next window

log = structlog.get_logger("voice_activity")


class SileroDetector:
    """VAD for one caller: its audio in windows, the model's memory of it, and its listeners."""

    def __init__(self, engine: "SileroEngine", fail: Callable[[BaseException], None]) -> None:
        self.memory = Memory()
        self.fail = fail
        self._engine = engine
        self._buffer = AudioBuffer(longest_gap=LONGEST_GAP, block=BLOCK)
        self._activity = VoiceActivity()
        self._judged_until: int | None = None  # the sample that the next window begins with
        self._listeners: list[SpeechListener] = []
        self._judged: list[Callable[[int], None]] = []
        self._moved = asyncio.Event()

    @property
    def speaking(self) -> bool:
        return self._activity.speaking

    @property
    def silence(self) -> int:
        return self._activity.silence

    @property
    def voiced(self) -> int:
        return self._activity.voiced

    @property
    def end(self) -> int:
        return self._buffer.end

    def follow(self, listener: SpeechListener, judged: Callable[[int], None] | None = None) -> None:
        self._listeners.append(listener)
        if judged is not None:
            self._judged.append(judged)

    def feed(self, pcm: bytes, at_sample: int) -> None:
        if self._judged_until is None:
            self._judged_until = at_sample
        elif at_sample - self._buffer.end >= LONGEST_GAP:
            self.stop()
        self._buffer.append(pcm, at_sample)
        if self._buffer.end - max(self._judged_until, self._buffer.start) > MOST_BEHIND:
            raise ProviderError(
                "server", "voice activity detection is 20 s behind: this worker has too many sessions", retryable=True
            )
        self._ask()

    async def catch_up(self) -> None:
        while self._waits:
            self._moved.clear()
            await self._moved.wait()

    def stop(self) -> None:
        self._dispatch(self._activity.stop(self._buffer.end))

    def close(self) -> None:
        self._listeners.clear()
        self._judged.clear()
        self._engine.forget(self)

    # --- the engine's side --------------------------------------------------------------------------------------------

    def window(self) -> bytes | None:
        """Return the next window, WINDOW_BYTES long, or None if there is no whole one yet."""
        assert self._judged_until is not None
        self._judged_until = max(self._judged_until, self._buffer.start)
        window = self._buffer.cut(self._judged_until, self._judged_until + WINDOW)
        return window if len(window) == WINDOW_BYTES else None

    def judge(self, probability: float) -> None:
        """Move on by the window that `window` returned: it is speech with this probability."""
        assert self._judged_until is not None
        change = self._activity.step(probability, self._judged_until)
        self._judged_until += WINDOW
        self._buffer.forget(self._judged_until)
        self._dispatch(change)
        for judged in self._judged:
            judged(self._judged_until)
        self._ask()
        self._moved.set()

    @property
    def _waits(self) -> bool:
        if self._judged_until is None:
            return False
        return self._buffer.end - max(self._judged_until, self._buffer.start) >= WINDOW

    def _ask(self) -> None:
        if self._waits:
            self._engine.ready(self, urgent=self._activity.undecided)

    def _dispatch(self, change: Onset | Offset | None) -> None:
        match change:
            case Onset():
                for listener in self._listeners:
                    listener.speech_started(change)
            case Offset():
                for listener in self._listeners:
                    listener.speech_ended(change)


class SileroEngine:
    """Runs the model for all callers whose detector is `ready`; for many callers in `thread`."""

    name = "silero"

    def __init__(self, run: Run, thread: Executor) -> None:
        self._run = run
        self._thread = thread
        self._ready: dict[SileroDetector, None] = {}  # in the order they came
        self._wake = asyncio.Event()
        self._urgent = asyncio.Event()
        self._callers: set[SileroDetector] = set()
        self._failure: ProviderError | None = None

    def open(self, fail: Callable[[BaseException], None]) -> SileroDetector:
        if self._failure is not None:
            raise self._failure
        detector = SileroDetector(self, fail)
        self._callers.add(detector)
        return detector

    def ready(self, detector: SileroDetector, *, urgent: bool) -> None:
        """Judge the next window of `detector`. urgent: it may begin or end speech, so it waits for no other."""
        self._ready[detector] = None
        self._wake.set()
        if urgent:
            self._urgent.set()

    def forget(self, detector: SileroDetector) -> None:
        """Judge no window of `detector` any more."""
        self._callers.discard(detector)
        self._ready.pop(detector, None)

    @contextmanager
    def working(self) -> Iterator[None]:
        """Run the engine in a task. If it fails, every session of the worker ends with an error that says so."""
        task = asyncio.create_task(self._work(), name="voice activity detection")
        task.add_done_callback(self._stopped)
        try:
            yield
        finally:
            task.cancel()

    def _stopped(self, task: "asyncio.Task[None]") -> None:
        if task.cancelled():
            return
        error = task.exception()
        assert error is not None, "the engine ends only by an error"
        cause = type(error).__name__
        log.error("voice activity detection stopped", cause=cause, sessions=len(self._callers), places=places(error))
        self._failure = ProviderError(
            "server", f"voice activity detection stopped: {cause}. Restart this worker.", retryable=True
        )
        for detector in list(self._callers):
            detector.fail(self._failure)

    async def _work(self) -> None:
        """Judge windows until cancelled. A caller that is behind gets one window a round, as all others do."""
        loop = asyncio.get_running_loop()
        while True:
            if not self._ready:
                self._wake.clear()
                await self._wake.wait()
                await self._gather_some()
            self._urgent.clear()
            detectors, windows = self._gather()
            if not detectors:
                continue
            memories = [detector.memory for detector in detectors]
            if len(self._callers) <= FEW:
                found = probabilities(self._run, memories, windows)
                await asyncio.sleep(0)  # else one that is far behind would have all its windows judged at once
            else:
                found = await loop.run_in_executor(self._thread, probabilities, self._run, memories, windows)
            self._judge(detectors, found)
            del detectors, memories  # an idle engine holds no caller that has hung up

    async def _gather_some(self) -> None:
        if len(self._callers) > FEW:
            await asyncio.sleep(GATHER_MANY_S)
            return
        with suppress(TimeoutError):
            await asyncio.wait_for(self._urgent.wait(), GATHER_S)

    def _gather(self) -> tuple[list[SileroDetector], list[bytes]]:
        ready, self._ready = self._ready, {}
        pairs = [(detector, window) for detector in ready if (window := detector.window()) is not None]
        return [detector for detector, _ in pairs], [window for _, window in pairs]

    def _judge(self, detectors: list[SileroDetector], found: list[float]) -> None:
        for detector, probability in zip(detectors, found, strict=True):
            if detector not in self._callers:  # closed while the model ran
                continue
            try:
                detector.judge(probability)
            except Exception as error:  # noqa: BLE001 - a listener raised: its session ends, the others go on
                detector.fail(error)


@asynccontextmanager
async def open_silero(weights: Path) -> AsyncIterator[SileroEngine]:
    """Open the engine with the model in the folder `weights`. Raises ProviderMissing."""
    with engine_thread("voice-activity", NICENESS) as thread:
        try:
            run = await asyncio.get_running_loop().run_in_executor(thread, load, weights)
        except ImportError as error:
            raise ProviderMissing(
                f"voice activity detection needs {error.name}: pip install -e '.[vad]', or run with --vad script"
            ) from None
        engine = SileroEngine(run, thread)
        with engine.working():
            yield engine
