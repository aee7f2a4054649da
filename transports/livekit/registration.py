"""The connection on which LiveKit gives jobs: where it is, how a worker registers there, and why that fails."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit, urlunsplit

import aiohttp
from aiohttp import WSMsgType

from schemas import control
from transports.livekit import worker_protocol as job
from transports.livekit.identities import Keys

WITHIN_S = 10.0  # the server's own patience
HEARTBEAT_S = 10.0  # a server whose machine vanished is noticed after this
MAX_MESSAGE = 4 * 1024 * 1024  # bytes; metadata of any length still gets an agent
ENDS = (WSMsgType.CLOSE, WSMsgType.CLOSING, WSMsgType.CLOSED, WSMsgType.ERROR)

FAILURES = (aiohttp.ClientError, OSError, TimeoutError, job.BadMessage)  # what any of these functions may raise


@asynccontextmanager
async def registered(
    http: aiohttp.ClientSession, keys: Keys, agent_name: str
) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    """A connection on which jobs come. Raises one of FAILURES."""
    async with asyncio.timeout(WITHIN_S):
        socket = await http.ws_connect(
            agent_url(keys.url),
            headers={"Authorization": f"Bearer {keys.worker_token()}"},
            heartbeat=HEARTBEAT_S,
            max_msg_size=MAX_MESSAGE,
        )
    async with socket:
        async with asyncio.timeout(WITHIN_S):
            await socket.send_str(job.register(agent_name, str(control.VERSION)))
            while not (await receive(socket)).register:
                pass
        yield socket


async def receive(socket: aiohttp.ClientWebSocketResponse) -> job.Told:
    """The next message. Raises BadMessage, and ConnectionError at the end of the connection."""
    message = await socket.receive()
    if message.type in ENDS:
        raise ConnectionResetError
    return job.read(message.data)


def agent_url(url: str) -> str:
    """Where workers register at the LiveKit of `url`."""
    parts = urlsplit(url)
    scheme = {"http": "ws", "https": "wss"}.get(parts.scheme, parts.scheme)
    return urlunsplit((scheme, parts.netloc, f"{parts.path.rstrip('/')}/agent", "", ""))


def why(error: Exception) -> str:
    """What a person is told of one of FAILURES."""
    if isinstance(error, aiohttp.WSServerHandshakeError):
        if error.status in (401, 403):
            return "it refuses our key or secret: look at ANTIPHON_LIVEKIT_KEY and ANTIPHON_LIVEKIT_SECRET"
        return f"it answers {error.status} where workers register: is it a LiveKit server?"
    if isinstance(error, TimeoutError):
        return f"no answer within {WITHIN_S:.0f} s"
    if isinstance(error, aiohttp.ClientConnectorError):
        return f"it cannot be reached ({error.os_error.strerror or error.os_error}): is it running?"
    if isinstance(error, ConnectionError):
        return "the connection was closed"
    return f"it does not speak as LiveKit does ({type(error).__name__})"  # and what it says may be anything
