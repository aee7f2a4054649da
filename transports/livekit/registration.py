"""The connection on which LiveKit offers jobs: its address, the registration on it, and the causes of its failures."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit, urlunsplit

import aiohttp
from aiohttp import WSMsgType
from livekit.protocol.agent import RegisterWorkerResponse

from schemas import control
from transports.livekit import worker_protocol
from transports.livekit.worker_protocol import BadMessage, FromServer

WITHIN_S = 10.0  # for connecting and for registering; the server gives up after this time, too
HEARTBEAT_S = 10.0  # a server whose machine vanished is noticed after this time
MAX_MESSAGE = 4 * 1024 * 1024  # bytes; a room with metadata of any length still gets an agent
ENDS = (WSMsgType.CLOSE, WSMsgType.CLOSING, WSMsgType.CLOSED, WSMsgType.ERROR)

FAILURES = (aiohttp.ClientError, OSError, TimeoutError, BadMessage)  # raised by the functions of this module


@asynccontextmanager
async def registered(
    http: aiohttp.ClientSession, url: str, token: str, agent_name: str
) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    """Yield a connection on which a worker is registered. token: a worker token. Raises one of FAILURES."""
    async with asyncio.timeout(WITHIN_S):
        socket = await http.ws_connect(
            worker_url(url),
            headers={"Authorization": f"Bearer {token}"},
            heartbeat=HEARTBEAT_S,
            max_msg_size=MAX_MESSAGE,
        )
    async with socket:
        async with asyncio.timeout(WITHIN_S):
            await socket.send_bytes(worker_protocol.register(agent_name, str(control.VERSION)))
            while not isinstance(await receive(socket), RegisterWorkerResponse):
                pass
        yield socket


async def receive(socket: aiohttp.ClientWebSocketResponse) -> FromServer | None:
    """Return the next message, None for an unused one. Raises BadMessage; ConnectionError when it is closed."""
    message = await socket.receive()
    if message.type in ENDS:
        raise ConnectionResetError
    return worker_protocol.read(message.data)


def worker_url(url: str) -> str:
    """Return the address at which workers register at the LiveKit of `url`."""
    parts = urlsplit(url)
    scheme = {"http": "ws", "https": "wss"}.get(parts.scheme, parts.scheme)
    return urlunsplit((scheme, parts.netloc, f"{parts.path.rstrip('/')}/agent", "", ""))


def cause(error: Exception) -> str:
    """Return the cause of one of FAILURES, for a log message."""
    if isinstance(error, aiohttp.WSServerHandshakeError):
        if error.status in (401, 403):
            return "it refuses the key or the secret: check ANTIPHON_LIVEKIT_KEY and ANTIPHON_LIVEKIT_SECRET"
        return f"it answers {error.status} where workers register: is it a LiveKit server?"
    if isinstance(error, TimeoutError):
        return f"no answer within {WITHIN_S:.0f} s"
    if isinstance(error, aiohttp.ClientConnectorError):
        return f"it cannot be reached ({error.os_error.strerror or error.os_error}): is it running?"
    if isinstance(error, ConnectionError):
        return "the connection was closed"
    # Only the type: the error's text may contain anything.
    return f"its answer is none of LiveKit's ({type(error).__name__}): is it a LiveKit server?"
