"""The tasks and timers of one session: none outlives it, and the first failure of any of them ends it."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import TypeVar, TypeVarTuple

MAX_TIMERS = 64  # kept before cancelled ones are removed from the set

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class Lifetime:
    """How long a session lives in a stage, and all that runs in it."""

    def __init__(self) -> None:
        self._tasks: asyncio.TaskGroup | None = None
        self._spawned: set[asyncio.Task[object]] = set()
        self._timers: set[asyncio.TimerHandle] = set()
        self._end = asyncio.Event()
        self._failure: BaseException | None = None

    @property
    def ended(self) -> bool:
        """Whether `end` or `fail` was called."""
        return self._end.is_set()

    @property
    def timers(self) -> int:
        """The number of timers that were set and have not fired, cancelled ones included."""
        return len(self._timers)

    async def run(self, begin: Callable[[], None]) -> None:
        """Call `begin`, then wait for `end` or `fail`; stop every task and timer. Raises the first failure."""
        async with asyncio.TaskGroup() as self._tasks:
            try:
                begin()
                await self._end.wait()
            finally:
                self._stop()
        if self._failure:
            raise self._failure

    def end(self) -> None:
        """Let `run` return."""
        self._end.set()

    def fail(self, failure: BaseException) -> None:
        """Let `run` raise `failure`, or an earlier one."""
        self._failure = self._failure or failure
        self.end()

    def spawn(self, work: Coroutine[object, None, T]) -> asyncio.Task[T]:
        """Run `work` in a task of the session. An exception ends the session."""
        assert self._tasks is not None, "cannot spawn before the session runs"
        task = self._tasks.create_task(work)
        self._spawned.add(task)
        task.add_done_callback(self._spawned.discard)
        return task

    def later(self, delay_ms: float, callback: Callable[[], None]) -> asyncio.TimerHandle:
        """Call `callback` after `delay_ms` unless the session ends first. An exception ends the session."""

        def run() -> None:
            self._timers.discard(handle)
            self.guard(callback)

        handle = asyncio.get_running_loop().call_later(delay_ms / 1000, run)
        if len(self._timers) >= MAX_TIMERS:
            self._timers = {timer for timer in self._timers if not timer.cancelled()}
        self._timers.add(handle)
        return handle

    def guard(self, callback: Callable[[*Ts], None], *arguments: *Ts) -> None:
        """Call `callback` at once. An exception ends the session instead of reaching the event loop."""
        try:
            callback(*arguments)
        except Exception as error:  # noqa: BLE001 - it ends this session and no other; Worker.contain logs it
            self.fail(error)

    def _stop(self) -> None:
        for handle in self._timers:
            handle.cancel()
        self._timers.clear()
        for task in self._spawned:
            task.cancel()
