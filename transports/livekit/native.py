"""What the native side of LiveKit's SDK has Python do beside the calls, done less (docs/performance.md, "In rooms").

States: its threads bring every event to Python, which makes a state for such a thread and undoes it each time, and to
undo it is to unmap memory that the next event maps and touches anew: a quarter of what hearing a room costs. A state
that is ensured and not released stays with its thread (docs.python.org/3/c-api/init.html, "Non-Python created
threads").

Logs: every line that the library and libwebrtc log, of whatever level, comes as an event too, to be dropped in Python:
a tenth of what speaking into a room costs. They come only where debug lines are logged (`--debug`); else the
library would write errors to stderr by itself, were it not for `RUST_LOG` (`cli/run.py`).
"""

import ctypes
import functools
import logging
import threading
from contextlib import suppress

from livekit import rtc

MAX_KEPT = 64  # as many threads call as there are cores; should the SDK make new ones all the time, 20 KB for each

_thread = threading.local()  # goes with the state
kept: list[int] = []  # native ids of the threads whose state stays


@functools.cache
def lighten() -> None:
    """From now on, in this process. It hangs on the inside of the SDK: should that change, rooms cost more."""
    with suppress(ImportError, AttributeError, TypeError):
        from livekit.rtc._ffi_client import FfiClient

        FfiClient.instance.queue.subscribe(filter_fn=_keep)
        bring_logs(logging.getLogger("livekit").isEnabledFor(logging.DEBUG))


def bring_logs(wanted: bool) -> None:
    """Whether lines of the SDK's log come to Python (`livekit_ffi_initialize`, which may be said again at any time)."""
    from livekit.rtc._ffi_client import FfiClient, ffi_event_callback

    library = FfiClient.instance._ffi_lib
    library.livekit_ffi_initialize(ffi_event_callback, wanted, b"python", rtc.__version__.encode())


def _keep(_event: object) -> bool:
    """In the thread that brings an event, which we never want."""
    if not hasattr(_thread, "seen") and len(kept) < MAX_KEPT:
        _thread.seen = True
        ctypes.pythonapi.PyGILState_Ensure()
        kept.append(threading.get_native_id())
    return False
