"""Faults that a stand-in vendor plays: one description for HTTP streams and websockets.

A stand-in takes one fault for each answer, and sends every message of the answer through a `Channel`:

    faults = Faults()                                   # the test's side
    faults.queue(Refuse(429, retry_after_s=2), Stall(after=3))

    fault = faults.take()                               # the stand-in's side
    if refusal := refused(request, fault, body=b'{"error": "slow down"}'):
        return refusal
    async with http_channel(request, fault, "text/event-stream") as channel:
        await channel.send(b"data: hello\n\n")
    return channel.response

`Wrong` says what the stand-in itself must do: only it knows how its vendor writes a final transcript.
"""

import asyncio
import struct
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Literal, Protocol

from aiohttp import web

GARBAGE = b"\x00\xfe}garbage{\xff"
ABNORMAL = 1006  # RFC 6455, 7.1.5: the connection was lost without a close frame
NO_CODE = 1005  # the close frame has no code


@dataclass(frozen=True)
class Refuse:
    """Answer with this HTTP status in place of a stream or of a websocket. message: the vendor's own words."""

    status: int
    retry_after_s: float | None = None
    code: str = ""
    message: str = ""
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Drop:
    """Close the connection without an answer."""


@dataclass(frozen=True)
class SlowStart:
    """Wait before the first byte of the answer."""

    seconds: float


@dataclass(frozen=True)
class Stall:
    """Send nothing behind `after` messages, and keep the connection open."""

    after: int = 0


@dataclass(frozen=True)
class Close:
    """Close behind `after` messages. 1006 aborts the connection; over HTTP every other code ends the body early."""

    after: int = 0
    code: int = ABNORMAL


@dataclass(frozen=True)
class Garbage:
    """Send bytes that mean nothing behind `after` messages, then go on."""

    after: int = 0


@dataclass(frozen=True)
class HalfFrame:
    """Send half of the message behind the first `after`, then close the connection."""

    after: int = 0


@dataclass(frozen=True)
class Wrong:
    """Answer wrongly in a way that only the stand-in can play; one that has no such message ignores it."""

    what: Literal["rate", "duplicate_final", "never_final"]


Fault = Refuse | Drop | SlowStart | Stall | Close | Garbage | HalfFrame | Wrong


class Faults:
    """The faults of a stand-in. Each answer takes one: first those in the queue, then the standing one."""

    def __init__(self) -> None:
        self.standing: Fault | None = None
        self._queue: deque[Fault | None] = deque()

    def queue(self, *faults: Fault | None) -> None:
        """Play these in the next answers, one each; None is an answer without a fault."""
        self._queue.extend(faults)

    def take(self) -> Fault | None:
        """Return the fault of the next answer."""
        return self._queue.popleft() if self._queue else self.standing


def refused(request: web.Request, fault: Fault | None, body: bytes = b"{}") -> web.Response | None:
    """Return the answer that refuses `request`, None if the fault is another. body: the vendor's form of an error."""
    if isinstance(fault, Drop):
        _abort(request)
        return web.Response()  # aiohttp finds the connection closed and drops it
    if not isinstance(fault, Refuse):
        return None
    headers = {"Content-Type": "application/json", **dict(fault.headers)}
    if fault.retry_after_s is not None:
        headers["Retry-After"] = f"{fault.retry_after_s:g}"
    return web.Response(status=fault.status, body=body, headers=headers)


# --- channels ---------------------------------------------------------------------------------------------------------


class _Ended(Exception):
    """The fault has ended the answer."""


class _Wire(Protocol):
    """The messages of one answer as bytes on a connection."""

    async def write(self, message: str | bytes) -> None: ...

    async def write_half(self, message: str | bytes) -> None: ...

    async def close(self, code: int) -> None: ...


class Channel:
    """Sends the messages of one answer, and plays its fault. sent: messages that left whole."""

    def __init__(self, wire: _Wire, fault: Fault | None) -> None:
        self.sent = 0
        self._wire = wire
        self._fault = fault

    async def send(self, message: str | bytes) -> None:
        """Send one message. Does not return where the fault stalls or closes: it waits, or ends the answer."""
        match self._fault:
            case SlowStart(seconds) if not self.sent:
                await asyncio.sleep(seconds)
            case Stall(after) if self.sent == after:
                await asyncio.Event().wait()
            case Close(after, code) if self.sent == after:
                await self._wire.close(code)
                raise _Ended
            case HalfFrame(after) if self.sent == after:
                await self._wire.write_half(message)
                raise _Ended
            case Garbage(after) if self.sent == after:
                await self._wire.write(GARBAGE if isinstance(message, bytes) else GARBAGE.decode(errors="replace"))
        await self._wire.write(message)
        self.sent += 1


class HttpChannel(Channel):
    """A channel over a streamed HTTP response, which begins with its first message."""

    def __init__(self, request: web.Request, fault: Fault | None, content_type: str) -> None:
        self.response = web.StreamResponse(headers={"Content-Type": content_type})
        super().__init__(_HttpWire(request, self.response), fault)


@asynccontextmanager
async def http_channel(request: web.Request, fault: Fault | None, content_type: str) -> AsyncIterator[HttpChannel]:
    """Open the response of `request`; the block ends early where the fault ends the answer."""
    channel = HttpChannel(request, fault, content_type)
    try:
        yield channel
    except _Ended:
        return


@asynccontextmanager
async def socket_channel(
    request: web.Request, socket: web.WebSocketResponse, fault: Fault | None
) -> AsyncIterator[Channel]:
    """Open a channel on a prepared websocket without compression; the block ends early where the fault ends it.

    Several channels may share a socket: a vendor that multiplexes has one fault for each of its contexts.
    """
    try:
        yield Channel(_SocketWire(request, socket), fault)
    except _Ended:
        return


class _HttpWire:
    def __init__(self, request: web.Request, response: web.StreamResponse) -> None:
        self._request = request
        self._response = response

    async def write(self, message: str | bytes) -> None:
        await self._begin()
        await self._response.write(_bytes(message))

    async def write_half(self, message: str | bytes) -> None:
        data = _bytes(message)
        await self.write(data[: len(data) // 2])
        await self.close(ABNORMAL)

    async def close(self, code: int) -> None:
        await self._begin()
        if code == ABNORMAL:
            _abort(self._request)

    async def _begin(self) -> None:
        if not self._response.prepared:
            await self._response.prepare(self._request)


class _SocketWire:
    def __init__(self, request: web.Request, socket: web.WebSocketResponse) -> None:
        self._request = request
        self._socket = socket

    async def write(self, message: str | bytes) -> None:
        if isinstance(message, str):
            await self._socket.send_str(message)
        else:
            await self._socket.send_bytes(message)

    async def write_half(self, message: str | bytes) -> None:
        data = _bytes(message)
        kind = 0x81 if isinstance(message, str) else 0x82  # RFC 6455, 5.2: final frame, text or binary
        self._end(struct.pack("!BBQ", kind, 127, len(data)) + data[: len(data) // 2])

    async def close(self, code: int) -> None:
        if code == ABNORMAL:
            _abort(self._request)
        elif code == NO_CODE:
            self._end(b"\x88\x00")  # a close frame without a payload, which aiohttp does not write
        else:
            await self._socket.close(code=code)

    def _end(self, data: bytes) -> None:
        """Write bytes past aiohttp, and close the connection behind them."""
        transport = self._request.transport
        if transport is not None:
            transport.write(data)
            transport.close()


def _abort(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.abort()


def _bytes(message: str | bytes) -> bytes:
    return message.encode() if isinstance(message, str) else message
