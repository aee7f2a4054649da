"""Windows of many callers in one run: which wait, and where the run is made."""

import asyncio
import threading
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

import numpy as np
import pytest

from schemas.audio import CALLER_HZ
from stages.runtime.providers import ProviderError
from stages.stt import silero_engine
from stages.stt.silero import WINDOW_BYTES, Floats
from stages.stt.silero_engine import FEW, MOST_BEHIND, SileroEngine
from stages.stt.voice_activity import ON, WINDOW, Offset, Onset

NEVER_S = 60.0


class Caller:
    """A caller who sends silence, and the windows of it that were judged."""

    def __init__(self, engine: SileroEngine) -> None:
        self.errors: list[BaseException] = []
        self.rounds = 0
        self.detector = engine.open(self.errors.append)
        self.detector.follow(Nothing(), self.judged)

    def judged(self, until: int) -> None:
        self.rounds += 1

    def say(self, windows: int = 1) -> None:
        self.detector.feed(bytes(WINDOW_BYTES) * windows, self.detector.end)


class Nothing:
    def speech_started(self, onset: Onset) -> None:
        raise AssertionError("silence is no speech")

    def speech_ended(self, offset: Offset) -> None:
        raise AssertionError("silence is no speech")


@asynccontextmanager
async def detecting(threads: list[str]) -> AsyncIterator[SileroEngine]:
    """threads: in which each run was made."""

    def run(heard: Floats, state: Floats) -> tuple[Floats, Floats]:
        threads.append(threading.current_thread().name)
        return np.zeros((len(heard), 1), np.float32), state

    with ThreadPoolExecutor(1, "detector") as thread:
        engine = SileroEngine(run, thread)
        with engine.working():
            await asyncio.sleep(0)  # it is idle
            yield engine


async def met(callers: list[Caller], rounds: int) -> None:
    async with asyncio.timeout(5):
        while any(caller.rounds < rounds for caller in callers):
            await asyncio.sleep(0.001)


async def test_windows_wait_for_each_other_but_not_one_that_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(silero_engine, "GATHER_S", NEVER_S)
    runs: list[str] = []
    async with detecting(runs) as engine:
        first, second, decides = Caller(engine), Caller(engine), Caller(engine)
        for caller in (first, second):
            caller.say()
            await asyncio.sleep(0.05)
        assert not runs
        decides.detector._activity.step(ON, 0)  # may be the beginning of speech
        decides.say()
        await met([first, second, decides], 1)
        assert len(runs) == 1
        first.say()
        await asyncio.sleep(0.05)
        assert len(runs) == 1, "a window that waited for no other leaves no other in a hurry"


async def test_windows_of_many_are_run_beside_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(silero_engine, "GATHER_S", NEVER_S)
    runs: list[str] = []
    async with detecting(runs) as engine:
        callers = [Caller(engine) for _ in range(FEW + 1)]
        for caller in callers:
            caller.say()
        await met(callers, 1)
        assert runs == ["detector_0"]


async def test_one_that_is_far_behind_lets_the_loop_go_on() -> None:
    runs: list[str] = []
    behind = MOST_BEHIND // WINDOW
    async with detecting(runs) as engine:
        late = Caller(engine)
        late.detector._activity.step(ON, 0)  # urgent
        late.say(behind)
        await met([late], 1)
        assert late.rounds < behind
        await met([late], behind)


# --- one caller's audio -----------------------------------------------------------------------------------------------


async def test_ten_hours_of_silence_leave_nothing_behind() -> None:
    async with detecting([]) as engine:
        one = Caller(engine)
        for hour in range(10):
            one.detector.feed(bytes(WINDOW_BYTES), hour * 3_600 * CALLER_HZ)
        assert one.detector._buffer.end - one.detector._buffer.start < 30 * CALLER_HZ


async def test_an_engine_that_does_not_keep_up_is_an_error_and_no_silent_loss() -> None:
    async with detecting([]) as engine:
        one = Caller(engine)
        with pytest.raises(ProviderError, match="behind"):
            one.say(1_000)  # 32 s before the engine has had its turn


async def test_it_catches_up_with_all_whole_windows_and_waits_for_no_half_one() -> None:
    async with detecting([]) as engine, asyncio.timeout(5):
        one = Caller(engine)
        one.detector.feed(bytes(WINDOW_BYTES) * 3 + bytes(100), 0)
        await one.detector.catch_up()
        assert one.rounds == 3
        one.detector.feed(bytes(100), 60 * CALLER_HZ)  # back after a minute
        await one.detector.catch_up()


# --- faults -----------------------------------------------------------------------------------------------------------


async def test_an_engine_that_fails_ends_every_session_and_admits_no_other() -> None:
    def breaks(heard: Floats, state: Floats) -> tuple[Floats, Floats]:
        raise OSError("the model is gone")

    with ThreadPoolExecutor(1, "detector") as thread:
        engine = SileroEngine(breaks, thread)
        with engine.working():
            talking, silent = Caller(engine), Caller(engine)
            talking.say()
            async with asyncio.timeout(5):
                while not silent.errors:
                    await asyncio.sleep(0.001)
            for caller in (talking, silent):
                assert [str(error) for error in caller.errors] == [
                    "voice activity detection stopped: OSError. Restart this worker."
                ]
            with pytest.raises(ProviderError, match="voice activity detection stopped"):
                engine.open(print)


async def test_a_listener_that_fails_ends_its_own_session_and_no_other() -> None:
    async with detecting([]) as engine:
        bad, good = Caller(engine), Caller(engine)

        def fail(until: int) -> None:
            raise ValueError("a defect")

        bad.detector.follow(Nothing(), fail)
        for caller in (bad, good):
            caller.say(2)
        await met([good], 2)
        assert [str(error) for error in bad.errors] == ["a defect"]
        assert good.errors == []
