"""Many callers in one run of the voice detector."""

import asyncio
import threading
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest

from stages.stt import silero
from stages.stt.silero import FEW, WINDOW_BYTES, Detector, Floats, Memory, Run, load, probabilities
from stages.stt.voice_activity import ON
from tests.kit.speech import recording, silence

ROUNDS = 60  # 1.9 s: the state has to be right all along
CALLERS = 7


@pytest.fixture
def run(weights: Path) -> Run:
    pytest.importorskip("onnxruntime")
    return load(weights)


def windows(pcm: bytes) -> list[bytes]:
    return [pcm[at : at + WINDOW_BYTES] for at in range(0, ROUNDS * WINDOW_BYTES, WINDOW_BYTES)]


def test_a_batch_hears_what_each_caller_alone_would_be_heard_to_say(run: Run) -> None:
    speech = recording("two_cities")
    callers = [windows(speech[number * 100_000 :]) for number in range(CALLERS)]
    alone = [
        [probabilities(run, [memory], [each])[0] for each in caller] for caller in callers for memory in [Memory()]
    ]
    memories = [Memory() for _ in callers]
    batched = [probabilities(run, memories, together) for together in zip(*callers, strict=True)]
    for number, caller in enumerate(alone):
        assert caller == pytest.approx([row[number] for row in batched], abs=1e-4)
    assert max(map(max, alone)) > ON


def test_silence_is_not_speech_whoever_speaks_beside_it(run: Run) -> None:
    memories = [Memory(), Memory()]
    rows = [
        probabilities(run, memories, [quiet, loud])
        for quiet, loud in zip(windows(silence(3)), windows(recording("beckett")[20_000:]), strict=True)
    ]
    assert max(quiet for quiet, _ in rows) < 0.1
    assert max(loud for _, loud in rows) > 0.9


# --- whose windows share a run ----------------------------------------------------------------------------------------

NEVER_S = 60.0


class Caller:
    """One with a number of windows."""

    def __init__(self, windows: int = 1) -> None:
        self.memory = Memory()
        self.left = windows
        self.rounds = 0
        self.detector: Detector

    def window(self) -> bytes | None:
        self.left = max(0, self.left - 1)
        return bytes(WINDOW_BYTES)

    def heard(self, probability: float) -> None:
        self.rounds += 1
        if self.left:
            self.detector.ready(self, urgent=False)


@asynccontextmanager
async def detecting(threads: list[str]) -> AsyncIterator[Detector]:
    """threads: in which each run was made."""

    def run(heard: Floats, state: Floats) -> tuple[Floats, Floats]:
        threads.append(threading.current_thread().name)
        return np.zeros((len(heard), 1), np.float32), state

    with ThreadPoolExecutor(1, "detector") as thread:
        detector = Detector(run, thread)
        working = asyncio.create_task(detector.work())
        await asyncio.sleep(0)  # it is idle
        yield detector
        working.cancel()


async def met(callers: list[Caller], rounds: int) -> None:
    async with asyncio.timeout(5):
        while any(caller.rounds < rounds for caller in callers):
            await asyncio.sleep(0.001)


async def test_windows_wait_for_each_other_but_not_one_that_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(silero, "GATHER_S", NEVER_S)
    runs: list[str] = []
    async with detecting(runs) as detector:
        first, second, decides = Caller(), Caller(), Caller()
        for caller in (first, second):
            detector.ready(caller, urgent=False)
            await asyncio.sleep(0.05)
        assert not runs
        detector.ready(decides, urgent=True)
        await met([first, second, decides], 1)
        assert len(runs) == 1
        detector.ready(first, urgent=False)
        await asyncio.sleep(0.05)
        assert len(runs) == 1, "one that waited for nothing leaves nobody else in a hurry"


async def test_windows_of_many_are_run_beside_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(silero, "GATHER_S", NEVER_S)
    runs: list[str] = []
    async with detecting(runs) as detector:
        callers = [Caller() for _ in range(FEW + 1)]
        for caller in callers:
            detector.ready(caller, urgent=False)
        await met(callers, 1)
        assert runs == ["detector_0"]


async def test_one_that_is_far_behind_lets_the_loop_go_on() -> None:
    runs: list[str] = []
    async with detecting(runs) as detector:
        late = Caller(windows=1_000)
        late.detector = detector
        detector.ready(late, urgent=True)
        await met([late], 1)
        assert late.rounds < 1_000
        await met([late], 1_000)
