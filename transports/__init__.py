"""Doors to the caller: a hearing half, which ingress holds, and a speaking half, which egress holds.

Where the caller's socket lives in ingress, the speaking half is a line to it over the bus (`line.py`).
"""

import asyncio
import importlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol

from schemas.events import Event
from transports.ingress_output import Call, IngressOutput
from transports.null import NullOutput
from transports.transport import Refused


class Speaking(Protocol):
    """What egress speaks through. The far end plays what it gets back to back, from the first frame after silence."""

    def play(self, pcm: bytes, turn: int, segment: int, flags: int) -> None:
        """20 ms of PCM16 mono at 24 kHz."""

    def clear(self) -> None:
        """The far end finishes the frame it is in and drops the rest."""

    def tell(self, event: Event) -> None:
        """What happened in the call, for a far end that shows it."""


async def warm(transport: str) -> None:
    """Load what a transport needs, so that its first call does not wait for it."""
    if transport == "livekit":
        await asyncio.to_thread(importlib.import_module, "transports.livekit.room_output")


@asynccontextmanager
async def speaking(transport: str, call: Call) -> AsyncIterator[Speaking]:
    """The speaking half of `transport` for one call; raises Refused, or ValueError if there is none of that name."""
    if transport == "websocket":
        yield IngressOutput(call)
    elif transport == "null":
        yield NullOutput()
    elif transport == "livekit":
        try:
            from transports.livekit.room_output import agent  # with it comes a native library
        except ImportError:
            raise Refused("this worker cannot enter rooms: pip install -e '.[livekit]'") from None
        async with agent(call) as speaker:
            yield speaker
    else:
        raise ValueError(f"transport {transport!r} has no speaking half: it has websocket, livekit, null")
