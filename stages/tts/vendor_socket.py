"""Websockets to a vendor of speech: opened ahead, shared by the turns of a worker's sessions, read by one task each."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Protocol

import aiohttp

from schemas.events import ProviderErrorKind
from stages.runtime.providers import ProviderError
from stages.runtime.refusals import refused

CONNECT_S = 3.0  # a handshake across an ocean takes 0.5 s
SEND_WITHIN_S = 2.0  # a vendor that takes no message for so long has failed
HEARTBEAT_S = 20.0  # websocket pings: a connection that was lost without a close frame is found within 30 s
MAX_MESSAGE = 4_000_000  # bytes, 60 s of audio in base64
MOST_WAITING = 2_000  # messages of one turn that the stage has not taken; its pieces are 30 s of audio

_BROKEN = (aiohttp.ClientError, TimeoutError, OSError)


@dataclass(frozen=True)
class Audio:
    """PCM16 mono of the oldest piece of `context` that has not ended. context: "" is every context of the socket."""

    context: str
    pcm: bytes


@dataclass(frozen=True)
class Words:
    """Words as the vendor reports them: text, start and end in ms from the start of the context."""

    context: str
    words: tuple[tuple[str, int, int], ...]


@dataclass(frozen=True)
class PieceEnd:
    """All audio of the oldest piece of `context` has come."""

    context: str


@dataclass(frozen=True)
class Failure:
    """The vendor refused `context`, or the connection is lost."""

    context: str
    error: ProviderError
    lost: bool = False


Received = Audio | Words | PieceEnd | Failure


@dataclass(frozen=True)
class Target:
    """Where a socket connects. most: contexts that one socket carries at once. read: a message -> its meaning.

    read raises ValueError for a message that is none of the vendor's.
    """

    http: aiohttp.ClientSession
    url: str
    headers: Mapping[str, str]
    read: Callable[[str | bytes], Iterable[Received]]
    most: int

    @property
    def key(self) -> tuple[str, tuple[tuple[str, str], ...]]:
        return self.url, tuple(self.headers.items())


class Sink(Protocol):
    """Takes the messages of one turn; must not raise."""

    def __call__(self, received: Received) -> None: ...


class VendorSocket:
    """One open websocket. contexts: id -> the turn that reads it."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, target: Target) -> None:
        self.contexts: dict[str, Sink] = {}
        self.lost = False
        self.used = False
        self._socket = socket
        self._target = target
        self._reading = asyncio.create_task(self._read(), name="vendor socket")

    def room(self, contexts: int) -> bool:
        """Return whether so many more contexts fit."""
        return not self.lost and len(self.contexts) + contexts <= self._target.most

    async def send(self, messages: Iterable[str]) -> None:
        """Send messages in order. Raises ProviderError."""
        try:
            async with asyncio.timeout(SEND_WITHIN_S):
                for message in messages:
                    await self._socket.send_str(message)
        except _BROKEN as error:
            self.lost = True
            raise ProviderError("connection", f"cannot send: {type(error).__name__}", retryable=True) from None

    async def close(self) -> None:
        """Close at once; a vendor that does not answer the close frame is not waited for."""
        self.lost = True
        self._reading.cancel()
        await asyncio.wait({self._reading})
        with suppress(*_BROKEN):
            async with asyncio.timeout(0.1):
                await self._socket.close()

    async def _read(self) -> None:
        failure = ProviderError("connection", "the vendor closed the connection", retryable=True)
        try:
            async for message in self._socket:
                if message.type not in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY):
                    break
                for received in self._target.read(message.data):
                    self._deliver(received)
            if self._socket.close_code not in (None, aiohttp.WSCloseCode.OK):
                code = self._socket.close_code
                failure = ProviderError("connection", f"the vendor closed with code {code}", retryable=True)
        except (ValueError, *_BROKEN) as error:
            failure = ProviderError("server", f"not a message of this vendor: {type(error).__name__}", retryable=True)
        finally:
            self.lost = True
        self._deliver(Failure("", failure, lost=True))
        with suppress(*_BROKEN):
            await self._socket.close()

    def _deliver(self, received: Received) -> None:
        if received.context:
            if sink := self.contexts.get(received.context):
                sink(received)
            return
        for sink in set(self.contexts.values()):
            sink(received)


@dataclass
class _Line:
    """The sockets to one target. sessions: those that are open and use it."""

    sockets: list[VendorSocket] = field(default_factory=list)
    connecting: asyncio.Lock = field(default_factory=asyncio.Lock)
    sessions: int = 0


class SocketPool:
    """The sockets of one provider."""

    def __init__(self) -> None:
        self._lines: dict[object, _Line] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def session(self, target: Target) -> AsyncIterator[None]:
        """Connect in the background, so that the first turn waits for no handshake; close with the last session."""
        line = self._lines.setdefault(target.key, _Line())
        line.sessions += 1
        self.warm(target)
        try:
            yield
        finally:
            line.sessions -= 1
            if not line.sessions:
                self._lines.pop(target.key, None)
                for socket in line.sockets:
                    await socket.close()

    def warm(self, target: Target) -> None:
        """Have one socket with room ready, if the vendor can be reached."""
        task = asyncio.create_task(self._warm(target), name="warm a vendor's socket")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def take(self, target: Target, contexts: int, *, new: bool = False) -> VendorSocket:
        """Return a socket with room for so many contexts. Raises ProviderError. new: connect in any case."""
        line = self._lines.get(target.key)
        if line is None:
            raise ProviderError("connection", "the session is closed")
        async with line.connecting:
            line.sockets = [socket for socket in line.sockets if not socket.lost]
            if not new:
                for socket in line.sockets:
                    if socket.room(contexts):
                        return socket
            socket = await _connect(target)
            line.sockets.append(socket)
            return socket

    async def close(self) -> None:
        """Close every socket."""
        for task in list(self._tasks):
            task.cancel()
        for line in self._lines.values():
            for socket in line.sockets:
                await socket.close()
        self._lines.clear()

    async def _warm(self, target: Target) -> None:
        with suppress(ProviderError):  # the first turn finds out for itself
            socket = await self.take(target, 1)
            line = self._lines.get(target.key)
            if line is None or socket not in line.sockets:  # the session closed meanwhile
                await socket.close()


@asynccontextmanager
async def open_pool() -> AsyncIterator[SocketPool]:
    """Open the sockets of one provider, which close with it."""
    pool = SocketPool()
    try:
        yield pool
    finally:
        await pool.close()


async def _connect(target: Target) -> VendorSocket:
    try:
        async with asyncio.timeout(CONNECT_S):
            socket = await target.http.ws_connect(
                target.url, headers=target.headers, heartbeat=HEARTBEAT_S, max_msg_size=MAX_MESSAGE
            )
    except aiohttp.WSServerHandshakeError as error:
        raise refused(error.status, error.headers or {}, time.time()) from None
    except _BROKEN as error:
        kind: ProviderErrorKind = "timeout" if isinstance(error, TimeoutError) else "connection"
        raise ProviderError(kind, f"cannot connect: {type(error).__name__}", retryable=True) from None
    return VendorSocket(socket, target)
