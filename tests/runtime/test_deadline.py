"""A deadline that moves: against a list of moments, in virtual time."""

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from antiphon_testing.virtual_time import VirtualLoop, in_virtual_time
from stages.runtime.deadline import Deadline


class Clock:
    """A clock in ms on the running loop, and a count of the timers that were set on it."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.set = 0
        self.due: list[float] = []

    def now_ms(self) -> float:
        return self.loop.time() * 1000

    def later(self, delay_ms: float, callback: object) -> asyncio.TimerHandle:
        assert callable(callback)
        self.set += 1
        return self.loop.call_later(delay_ms / 1000, callback)

    def deadline(self) -> Deadline:
        return Deadline(self.now_ms, self.later, lambda: self.due.append(self.now_ms()))


@in_virtual_time
async def test_a_deadline_that_moves_on_costs_one_timer_and_comes_once() -> None:
    clock = Clock()
    deadline = clock.deadline()
    for _ in range(100):
        deadline.set(clock.now_ms() + 1_000)
        await asyncio.sleep(0.009)
    assert clock.set == 1
    await asyncio.sleep(5)
    assert clock.set == 2
    assert [round(ms) for ms in clock.due] == [99 * 9 + 1_000]
    assert deadline.due_ms is None


@in_virtual_time
async def test_an_earlier_moment_comes_earlier_and_a_removed_one_never() -> None:
    clock = Clock()
    deadline = clock.deadline()
    deadline.set(500)
    deadline.set(100)
    await asyncio.sleep(1)
    deadline.set(2_000)
    deadline.set(None)
    await asyncio.sleep(5)
    assert [round(ms) for ms in clock.due] == [100]
    deadline.set(clock.now_ms() - 50)  # in the past: at once
    await asyncio.sleep(0.001)
    assert len(clock.due) == 2
    deadline.set(clock.now_ms() + 10)
    deadline.stop()
    await asyncio.sleep(1)
    assert len(clock.due) == 2


# even waits and odd moments: a moment never falls on the instant at which it is moved
WAITS = st.integers(1, 25).map(lambda half: 2 * half)
MOMENTS = st.none() | st.integers(-10, 50).map(lambda half: 2 * half + 1)


@given(st.lists(st.tuples(WAITS, MOMENTS), max_size=20))
def test_it_comes_exactly_when_the_last_moment_was_set_for(steps: list[tuple[int, int | None]]) -> None:
    """steps: wait so many ms, then set the moment to so many ms from now (None removes it)."""

    async def story() -> tuple[list[float], list[float]]:
        clock = Clock()
        deadline = clock.deadline()
        expected: list[float] = []
        due: float | None = None
        for wait, after in steps:
            until = clock.now_ms() + wait
            if due is not None and due < until:
                expected.append(due)
                due = None
            await asyncio.sleep(wait / 1000)
            due = None if after is None else max(clock.now_ms() + after, clock.now_ms())
            deadline.set(None if after is None else clock.now_ms() + after)
        await asyncio.sleep(1)
        return clock.due, expected if due is None else [*expected, due]

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        came, expected = runner.run(story())
    assert len(came) == len(expected)
    assert all(abs(one - other) <= 1.01 for one, other in zip(came, expected, strict=True))
