"""A thread for an engine: one, so that it does one thing at a time; niced, so that whoever paces audio goes first."""

import os
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

NICENESS = 10  # half of the way down: behind every event loop of this machine, before nothing that matters


@contextmanager
def engine_thread(name: str, niceness: int = NICENESS) -> Iterator[ThreadPoolExecutor]:
    """An executor of one thread. What the engine starts from within it, a pool of its own say, is as nice."""

    def yield_to_others() -> None:
        if sys.platform == "linux":  # elsewhere niceness belongs to the whole process
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), niceness)

    with ThreadPoolExecutor(1, name, yield_to_others) as executor:
        yield executor
