"""Opens the caller output of a transport by the transport's name."""

import asyncio
import importlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from transports.ingress_output import IngressOutput
from transports.null import NullOutput
from transports.transport import CallerOutput, OutputSession, Refused

ROOM_OUTPUT = "transports.livekit.room_output"  # loaded only for rooms: LiveKit's SDK is an extra, and large


async def preload(transport: str) -> None:
    """Import what a transport needs, so that its first session does not wait for it."""
    if transport == "livekit":
        await asyncio.to_thread(importlib.import_module, ROOM_OUTPUT)


@asynccontextmanager
async def open_output(transport: str, session: OutputSession) -> AsyncIterator[CallerOutput]:
    """Open the output of one session. Raises Refused if it cannot, ValueError for an unknown transport."""
    if transport == "websocket":
        yield IngressOutput(session)
    elif transport == "null":
        yield NullOutput()
    elif transport == "livekit":
        try:
            from transports.livekit.room_output import open_room_output
        except ImportError:
            raise Refused("cannot enter a room: LiveKit's SDK is missing. Run pip install -e '.[livekit]'.") from None
        async with open_room_output(session) as output:
            yield output
    else:
        raise ValueError(f"cannot open transport {transport!r}: it is none of websocket, livekit, null.")
