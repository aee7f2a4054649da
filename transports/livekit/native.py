"""Reduces the callbacks from the native side of LiveKit's SDK into Python (docs/performance.md, "In rooms").

Thread states: native threads deliver every event to Python, which creates a state for such a thread and destroys it
each time. Destroying it unmaps memory that the next event maps and touches again: a quarter of the cost of hearing a
room. A state that is ensured and not released stays with its thread (docs.python.org/3/c-api/init.html, "Non-Python
created threads").

Logs: every line that the library and libwebrtc log, of whatever level, arrives as an event too, to be dropped in
Python: a tenth of the cost of speaking into a room. They are delivered only where debug lines are logged (`--debug`).
Otherwise the library would write errors to stderr itself, were it not for `RUST_LOG` (`cli/run.py`). The Python part of
the SDK logs a line for each caption that ingress does not read, and for each track that ends.
"""

import ctypes
import functools
import logging
import threading
from contextlib import suppress
from pathlib import Path

from livekit import rtc

SDK = Path(rtc.__file__).parent
MAX_KEPT = 64  # threads: as many as cores deliver events; bounds the 20 KB a state, should the SDK renew its threads

_thread = threading.local()  # dropped together with the state
kept: list[int] = []  # native ids of the threads whose state is kept


@functools.cache
def reduce_callbacks() -> None:
    """Reduce the callbacks of this process, once. Uses internals of the SDK: if they change, rooms only cost more."""
    debug = logging.getLogger("livekit").isEnabledFor(logging.DEBUG)
    if not debug:
        logging.getLogger("livekit").setLevel(logging.WARNING)
        logging.getLogger().addFilter(drop_info)  # some lines go to the root logger
    with suppress(ImportError, AttributeError, TypeError):
        from livekit.rtc._ffi_client import FfiClient

        FfiClient.instance.queue.subscribe(filter_fn=_keep_state)
        deliver_logs(debug)


def drop_info(record: logging.LogRecord) -> bool:
    """Return False for a log record of the SDK's Python part below a warning."""
    return record.levelno >= logging.WARNING or SDK not in Path(record.pathname).parents


def deliver_logs(wanted: bool) -> None:
    """Choose whether lines of the SDK's log arrive in Python; `livekit_ffi_initialize` may be called at any time."""
    from livekit.rtc._ffi_client import FfiClient, ffi_event_callback

    library = FfiClient.instance._ffi_lib
    library.livekit_ffi_initialize(ffi_event_callback, wanted, b"python", rtc.__version__.encode())


def _keep_state(_event: object) -> bool:
    """Keep the state of the thread that delivers an event; return False, because the event is not for this filter."""
    if not hasattr(_thread, "seen") and len(kept) < MAX_KEPT:
        _thread.seen = True
        ctypes.pythonapi.PyGILState_Ensure()
        kept.append(threading.get_native_id())
    return False
