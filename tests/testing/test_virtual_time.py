"""Virtual time: the clock jumps, the order of timers stays."""

import asyncio
import time

from antiphon_testing.virtual_time import VirtualLoop, in_virtual_time

HOUR_S = 3600.0


def test_an_hour_passes_in_no_time_and_timers_keep_their_order() -> None:
    woken: list[tuple[str, float]] = []

    async def wait(name: str, seconds: float) -> None:
        await asyncio.sleep(seconds)
        woken.append((name, asyncio.get_running_loop().time()))

    @in_virtual_time
    async def story() -> None:
        await asyncio.gather(wait("late", HOUR_S), wait("early", 1.5))

    began = time.monotonic()
    story()
    assert time.monotonic() - began < HOUR_S / 100
    assert woken == [("early", 1.5), ("late", HOUR_S)]


def test_the_clock_begins_at_zero() -> None:
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        assert runner.get_loop().time() == 0.0
