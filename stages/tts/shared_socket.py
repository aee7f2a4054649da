"""Websockets to a vendor of speech: opened ahead, shared by the turns of a worker's sessions, read by one task each."""

import asyncio
import binascii
from base64 import b64decode
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Protocol

from stages.runtime.providers import ProviderError
from stages.runtime.vendor_http import Endpoint
from stages.runtime.vendor_socket import VendorSocket, open_socket

MOST_WAITING = 2_000  # messages of one turn that the stage has not taken; its pieces are 30 s of audio


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
class Characters:
    """Characters with start and end in ms from the start of the audio that comes next."""

    context: str
    characters: tuple[tuple[str, int, int], ...]


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


Received = Audio | Words | Characters | PieceEnd | Failure


def from_base64(audio: str) -> bytes:
    """Return the audio of a message. Raises ProviderError."""
    try:
        return b64decode(audio, validate=True)
    except binascii.Error:
        raise ProviderError("server", "the audio is not base64", retryable=True) from None


@dataclass(frozen=True)
class Target:
    """Where a socket connects. most: turns that one socket carries at once. read: a message -> its meaning.

    vendor: its name in errors. query: of the URL. read raises ProviderError for a message that is none of the vendor's.
    """

    vendor: str
    endpoint: Endpoint
    path: str
    headers: Mapping[str, str]
    query: tuple[tuple[str, str], ...]
    read: Callable[[str | bytes], Iterable[Received]]
    most: int

    @property
    def key(self) -> tuple[object, ...]:
        """Return what tells one target from another."""
        return self.endpoint.url, self.path, self.query, tuple(self.headers.items())


class Sink(Protocol):
    """Takes the messages of one turn; must not raise."""

    def __call__(self, received: Received) -> None: ...


class SharedSocket:
    """One websocket, open or opening. contexts: id -> the turn that reads it. opened: resolves, or fails.

    lost: it carries no more contexts. used: a turn has read it.
    """

    def __init__(self, target: Target) -> None:
        self.contexts: dict[str, Sink] = {}
        self.turns: set[Sink] = set()
        self.pieces = 0
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.lost = self.used = False
        self._target = target
        self._socket: VendorSocket | None = None
        self._task = asyncio.create_task(self._live(), name=f"socket to {target.vendor}")

    @property
    def room(self) -> bool:
        """Whether one more turn fits."""
        return not self.lost and len(self.turns) < self._target.most

    def send(self, messages: Iterable[str]) -> None:
        """Queue messages in order. Never raises: the turns that read the socket get the failure."""
        if self._socket:
            for message in messages:
                self._socket.send(message)

    def leave(self, turn: Sink) -> list[str]:
        """Make room: deliver nothing more to `turn`. Return its contexts that are open."""
        self.turns.discard(turn)
        mine = [context for context, sink in self.contexts.items() if sink == turn]
        for context in mine:
            del self.contexts[context]
        return mine

    async def close(self) -> None:
        """Close the socket."""
        self.lost = True
        self._task.cancel()
        await asyncio.wait({self._task})

    async def _live(self) -> None:
        error = ProviderError("connection", f"the socket to {self._target.vendor} was closed", retryable=True)
        try:
            async with open_socket(
                self._target.endpoint,
                self._target.vendor,
                self._target.path,
                headers=self._target.headers,
                query=self._target.query,
            ) as self._socket:
                self.opened.set_result(None)
                async for message in self._socket.messages():
                    for received in self._target.read(message):
                        self._deliver(received)
        except ProviderError as failed:
            error = failed
        finally:
            self.lost = True
            if not self.opened.done():
                self.opened.set_exception(error)
                self.opened.exception()  # the session that warmed it may be gone
        self._deliver(Failure("", error, lost=True))

    def _deliver(self, received: Received) -> None:
        if received.context:
            if sink := self.contexts.get(received.context):
                sink(received)
            return
        for sink in list(self.turns):
            sink(received)


@dataclass
class _Line:
    """The sockets to one target. sessions: those that are open and use it."""

    sockets: list[SharedSocket] = field(default_factory=list)
    sessions: int = 0


class SocketPool:
    """The sockets of one provider."""

    def __init__(self) -> None:
        self._lines: dict[object, _Line] = {}

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
        """Begin to connect unless a socket with room is open. The first turn finds out whether that succeeds."""
        line = self._lines.get(target.key)
        if line and not any(socket.room for socket in line.sockets):
            line.sockets.append(SharedSocket(target))

    async def take(self, target: Target, turn: Sink) -> SharedSocket:
        """Return a socket on which there is room for `turn`, until `leave`. Raises ProviderError."""
        line = self._lines.get(target.key)
        if line is None:
            raise ProviderError("connection", "the session is closed")
        line.sockets = [socket for socket in line.sockets if not socket.lost]
        socket = next((socket for socket in line.sockets if socket.room), None)
        if socket is None:
            socket = SharedSocket(target)
            line.sockets.append(socket)
        socket.turns.add(turn)
        try:
            await asyncio.shield(socket.opened)
        except BaseException:
            socket.leave(turn)
            raise
        return socket

    async def close(self) -> None:
        """Close every socket."""
        for line in self._lines.values():
            for socket in line.sockets:
                await socket.close()
        self._lines.clear()


@asynccontextmanager
async def open_pool() -> AsyncIterator[SocketPool]:
    """Open the sockets of one provider, which close with it."""
    pool = SocketPool()
    try:
        yield pool
    finally:
        await pool.close()
