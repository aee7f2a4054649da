"""Parts of every process: its event loop, its log, the garbage collector, the end of its parent."""

import asyncio
import contextlib
import gc
import os
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

GC_THRESHOLD = 50_000  # allocations between collections; objects of the start are frozen


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run `work` on uvloop, or on asyncio's loop. Warnings go to standard error unless a log is configured."""
    from telemetry import logs

    logs.configure_command()
    try:
        import uvloop

        factory: Callable[[], asyncio.AbstractEventLoop] | None = uvloop.new_event_loop
    except ImportError:
        factory = None
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(work)


def debug() -> bool:
    """Return whether `--debug` was given, to this process or to its parent."""
    return bool(os.environ.get("ANTIPHON_DEBUG"))


def settle() -> None:
    """Freeze all objects of the start, so that the garbage collector does not visit them during calls."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD, 50, 50)


async def parent_gone() -> None:
    """Return when the pipe on standard input closes, which means that the parent has ended."""
    loop = asyncio.get_running_loop()
    gone = asyncio.Event()

    def look() -> None:
        with contextlib.suppress(BlockingIOError):
            if not os.read(0, 4096):
                gone.set()

    os.set_blocking(0, False)
    loop.add_reader(0, look)
    try:
        await gone.wait()
    finally:
        loop.remove_reader(0)
