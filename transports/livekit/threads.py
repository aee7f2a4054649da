"""The SDK's threads bring every event to Python, which makes a state for such a thread and undoes it each time.

To undo it is to unmap memory that the next call maps and touches anew: a quarter of what hearing a room costs
(docs/performance.md, "In rooms"). A state that is ensured and not released stays with its thread
(docs.python.org/3/c-api/init.html, "Non-Python created threads").
"""

import ctypes
import functools
import threading
from contextlib import suppress

MAX_KEPT = 64  # as many threads call as there are cores; should the SDK make new ones all the time, 20 KB for each

_thread = threading.local()  # goes with the state
kept: list[int] = []  # native ids of the threads whose state stays


@functools.cache
def keep_states() -> None:
    """From now on, in this process."""
    with suppress(ImportError, AttributeError, TypeError):  # inside of the SDK: should it change, rooms cost more
        from livekit.rtc._ffi_client import FfiClient

        FfiClient.instance.queue.subscribe(filter_fn=_keep)


def _keep(_event: object) -> bool:
    """In the thread that brings an event, which we never want."""
    if not hasattr(_thread, "seen") and len(kept) < MAX_KEPT:
        _thread.seen = True
        ctypes.pythonapi.PyGILState_Ensure()
        kept.append(threading.get_native_id())
    return False
