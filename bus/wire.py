"""The short way of a message between a socket and its callback, past the queues and tasks of nats-py.

nats-py dials, authenticates, encrypts, pings, subscribes and reconnects. The wire reads and writes messages only. It
makes one function call for each message that arrives; nats-py has a queue and a task for every subscription. It writes
at once; nats-py wakes a task. Everything else goes on to nats-py untouched. While the short way is not clear (between
two connections, or while nats-py holds earlier bytes), messages take the long way through nats-py, in order.
"""

import asyncio
from collections.abc import Callable
from typing import Any

from nats.aio.client import Client
from nats.aio.transport import TcpTransport
from nats.protocol.parser import AWAITING_CONTROL_LINE

from bus.message import Callback, Message, format_headers

LINGER_S = 0.002  # a tenth of a frame: frames of many calls arrive together, each in its own turn of the loop
MAX_UNSENT = 4 * 1024 * 1024  # bytes that the socket has not taken; above this, messages wait in the outbox
END = b"\r\n"
MESSAGE, WITH_HEADERS = b"MH"  # the first byte of MSG and of HMSG; no other line of the protocol begins with these


class Wire(asyncio.Protocol):
    """Protocol between the socket of one connection and nats-py. `tap` makes one for each connection."""

    def __init__(self, client: Client, socket: asyncio.Transport, failed: Callable[[Exception], None]) -> None:
        self._client = client
        self._socket = socket
        self._failed = failed
        self._nats: Any = socket.get_protocol()  # the stream reader's: a private class of asyncio
        self._clear = False
        self._rest = b""  # the beginning of an incomplete message
        self._unsent: list[bytes] = []
        self._soon = False  # whether a flush at the end of this turn of the loop is scheduled
        self._loop = asyncio.get_running_loop()

    @property
    def address(self) -> str:
        """This machine's address in the network of the server: the local end of the socket."""
        return str(self._socket.get_extra_info("sockname")[0])

    # --- out ----------------------------------------------------------------------------------------------------------

    @property
    def free(self) -> bool:
        """Whether a message may be written now: connected, nothing pending in nats-py, the socket keeps up."""
        client = self._client
        return (
            client.is_connected
            and not client._pending
            and not self._socket.is_closing()
            and self._socket.get_write_buffer_size() < MAX_UNSENT
        )

    def write(self, subject: str, data: bytes, reply: str, headers: bytes, *, lingers: bool = False) -> None:
        """Write a message. Call only while `free`. headers: a whole header block (ADR-4 of NATS), or empty.

        lingers: the message may wait LINGER_S. Messages of one turn of the event loop, and those that linger, share one
        write: a system call, and waking the server and the receiver, cost more than a frame.
        """
        if headers:
            line = f"HPUB {subject} {reply} {len(headers)} {len(headers) + len(data)}\r\n"
        else:
            line = f"PUB {subject} {reply} {len(data)}\r\n"
        if not lingers and not self._soon:
            self._soon = True
            self._loop.call_soon(self.flush)
        elif lingers and not self._unsent:
            self._loop.call_later(LINGER_S, self.flush)
        self._unsent += (line.encode(), headers, data, END)

    def flush(self) -> None:
        """Pass what was written to the socket now."""
        self._soon = False
        if self._unsent:
            self._socket.write(b"".join(self._unsent))
            self._unsent.clear()

    # --- in -----------------------------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Hand every complete message to its callback or to nats-py, and keep the rest."""
        if not self._clear:
            self._clear = self._caught_up()
            if not self._clear:
                self._nats.data_received(data)
                return
        if self._rest:
            data = self._rest + data
        begin = 0
        while (line := data.find(END, begin)) >= 0:
            end = line + len(END)
            if data[begin] == MESSAGE or data[begin] == WITH_HEADERS:
                body = end
                words = data[begin:line].split()
                end = body + int(words[-1]) + len(END)
                if end > len(data):
                    break
                callback = self._callback(words[2])
                if callback:
                    headers = b""
                    if data[begin] == WITH_HEADERS:
                        headers = data[body : body + int(words.pop(-2))]
                        body += len(headers)
                    reply = words[3].decode() if len(words) > 4 else ""
                    message = Message(words[1].decode(), data[body : end - len(END)], reply, headers)
                    try:
                        callback(message)
                    except Exception as error:  # noqa: BLE001 - raised here it would close the connection
                        self._failed(error)
                else:
                    self._nats.data_received(data[begin:end])
            else:
                self._nats.data_received(data[begin:end])
            begin = end
        self._rest = data[begin:]

    def _callback(self, number: bytes) -> Callback | None:
        subscription = self._client._subs.get(int(number))
        return getattr(subscription._cb, "plain", None) if subscription else None

    def _caught_up(self) -> bool:
        """Whether nats-py holds no earlier bytes or messages, which a message on the short way would overtake."""
        parser = self._client._ps
        return (
            not self._nats._stream_reader._buffer
            and not parser.buf
            and parser.state == AWAITING_CONTROL_LINE
            and all(subscription._pending_queue.empty() for subscription in self._client._subs.values())
        )

    # --- other events of the socket, all passed on to nats-py ---------------------------------------------------------

    def eof_received(self) -> bool | None:
        ended: bool | None = self._nats.eof_received()
        return ended

    def connection_lost(self, error: Exception | None) -> None:
        self._nats.connection_lost(error)

    def pause_writing(self) -> None:
        self._nats.pause_writing()

    def resume_writing(self) -> None:
        self._nats.resume_writing()


def tap(client: Client, failed: Callable[[Exception], None]) -> Wire | None:
    """Attach a wire to a client that has just connected; None where there is no socket (NATS over websocket).

    failed: called with the exception of a callback.
    """
    transport = client._transport
    if not isinstance(transport, TcpTransport) or transport._io_writer is None:
        return None
    socket: Any = transport._io_writer.transport
    wire = Wire(client, socket, failed)
    socket.set_protocol(wire)
    return wire


def plain(callback: Callback) -> Callable[[Any], Any]:
    """Return a callback for nats-py whose attribute `plain` the wire calls directly."""

    async def deliver(message: Any) -> None:
        headers = format_headers(message.headers) if message.headers else b""
        callback(Message(message.subject, message.data, message.reply, headers))

    deliver.__dict__["plain"] = callback
    return deliver
