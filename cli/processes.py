"""Small things that every process of the product does: the loop, the log, the end of its parent."""

import asyncio
import contextlib
import gc
import os
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

GC_THRESHOLD = 50_000  # allocations between collections; what lives long is frozen after start-up


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run `work` on uvloop where there is one. Warnings go to standard error, unless the log is configured already."""
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
    """Whether `--debug` was given: `cli.main` sets the variable, so that the processes we start know it, too."""
    return bool(os.environ.get("ANTIPHON_DEBUG"))


def settle() -> None:
    """After start-up: what is loaded stays, so the collector need not look at it during calls."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD, 50, 50)


async def parent_gone() -> None:
    """Return when the pipe on standard input closes: the process that started us is no more."""
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
