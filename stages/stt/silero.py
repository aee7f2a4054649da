"""Voice activity of all callers of a worker in one run of the model: a batch of 16 costs a third of 16 single runs.

Silero (versions 5 and 6) takes windows of 512 samples, each with the 64 samples before it, and a state that it hands
back; both are kept for each caller. Windows that come close after each other share a run. Where callers are few, one
that may begin or end speech waits for no other.
"""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from contextlib import suppress
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from schemas.audio import CALLER_HZ, SAMPLE_BYTES
from stages.runtime.weights import SILERO, locate
from stages.stt.voice_activity import WINDOW

Floats = NDArray[np.float32]
Run = Callable[[Floats, Floats], tuple[Floats, Floats]]  # [N, 576], [2, N, 128] -> [N, 1], [2, N, 128]

WINDOW_BYTES = WINDOW * SAMPLE_BYTES
CONTEXT = 64
STATE = 128
FULL_SCALE = np.float32(32_768)
FEW = 8  # callers, who take 1.5 ms: to hand them to the thread and back would take 0.2 ms more
# A window of each caller: a run that finds the processor's caches cold takes 1 ms for one caller and 1.2 ms for four.
GATHER_S = 0.032
GATHER_MANY_S = 0.016  # the batch is large by then, and who waits longer falls behind


class Memory:
    """What the model remembers of one caller."""

    def __init__(self) -> None:
        self.state: Floats = np.zeros((2, STATE), np.float32)
        self.context: Floats = np.zeros(CONTEXT, np.float32)


def probabilities(run: Run, memories: Sequence[Memory], windows: Sequence[bytes]) -> list[float]:
    """Of speech, for one window of PCM16 of each memory; the memories move on by it."""
    samples = np.frombuffer(b"".join(windows), "<i2").reshape(len(windows), WINDOW) / FULL_SCALE
    heard = np.concatenate([np.stack([memory.context for memory in memories]), samples], axis=1)
    found, states = run(heard, np.stack([memory.state for memory in memories], axis=1))
    for index, memory in enumerate(memories):
        memory.state = states[:, index].copy()  # a view would keep the whole batch alive
        memory.context = heard[index, -CONTEXT:].copy()
    return [float(probability) for probability in found[:, 0]]


class Listener(Protocol):
    """A caller as the detector sees it."""

    memory: Memory

    def window(self) -> bytes | None:
        """Its next window, WINDOW_BYTES long, None if there is not yet a whole one."""

    def heard(self, probability: float) -> None:
        """That window is speech with this probability."""


class Detector:
    """Runs the model for whoever is `ready`; for many in `thread`."""

    def __init__(self, run: Run, thread: Executor) -> None:
        self._run = run
        self._thread = thread
        self._ready: dict[Listener, None] = {}  # in the order they came
        self._wake = asyncio.Event()
        self._urgent = asyncio.Event()
        self._callers: set[Listener] = set()

    def ready(self, listener: Listener, *, urgent: bool) -> None:
        """It has a window. urgent: which waits for no other."""
        self._callers.add(listener)
        self._ready[listener] = None
        self._wake.set()
        if urgent:
            self._urgent.set()

    def forget(self, listener: Listener) -> None:
        self._callers.discard(listener)
        self._ready.pop(listener, None)

    async def work(self) -> None:
        """Until cancelled. A caller that is behind gets one window a round, as all others do."""
        loop = asyncio.get_running_loop()
        while True:
            if not self._ready:
                self._wake.clear()
                await self._wake.wait()
                await self._gather_some()
            self._urgent.clear()
            listeners, windows = self._gather()
            if not listeners:
                continue
            memories = [listener.memory for listener in listeners]
            if len(self._callers) <= FEW:
                heard = probabilities(self._run, memories, windows)
                await asyncio.sleep(0)  # of one that is far behind all windows would be run at once
            else:
                heard = await loop.run_in_executor(self._thread, probabilities, self._run, memories, windows)
            _tell(listeners, heard)
            del listeners, memories  # an idle detector keeps nobody who has hung up

    async def _gather_some(self) -> None:
        if len(self._callers) > FEW:
            await asyncio.sleep(GATHER_MANY_S)
            return
        with suppress(TimeoutError):
            await asyncio.wait_for(self._urgent.wait(), GATHER_S)

    def _gather(self) -> tuple[list[Listener], list[bytes]]:
        ready, self._ready = self._ready, {}
        pairs = [(listener, window) for listener in ready if (window := listener.window()) is not None]
        return [listener for listener, _ in pairs], [window for _, window in pairs]


def _tell(listeners: list[Listener], heard: list[float]) -> None:
    for listener, probability in zip(listeners, heard, strict=True):
        listener.heard(probability)


def load(weights: Path) -> Run:
    """The model as a function. Raises ProviderMissing if the folder `weights` does not hold it."""
    import onnxruntime  # noqa: TID251 - the one place: the local recogniser and the scripted one share it

    model = locate(SILERO, weights)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    rate = np.array(CALLER_HZ, np.int64)

    def run(heard: Floats, state: Floats) -> tuple[Floats, Floats]:
        found, states = session.run(None, {"input": heard, "state": state, "sr": rate})
        return found, states

    return run
