"""The short way of a message between a socket and its callback, past the queues and tasks of nats-py.

nats-py dials, authenticates, encrypts, pings, subscribes and reconnects. Only messages are read and written here: one
plain call each as they arrive, where nats-py has a queue and a task for every subscription, and written at once, where
it wakes a task. Whatever is not for a plain callback goes on to nats-py untouched. While the short way is not clear
(between two connections, or behind something that nats-py still holds), messages take the long one, in order.
"""

import asyncio
from collections.abc import Callable
from typing import Any

from nats.aio.client import Client
from nats.aio.transport import TcpTransport
from nats.protocol.parser import AWAITING_CONTROL_LINE

Callback = Callable[[str, bytes, str], None]  # subject, data, reply

LINGER_S = 0.002  # of a frame of 20 ms: those of many calls come at once, but each in a turn of the loop of its own
MAX_UNSENT = 4 * 1024 * 1024  # bytes that the socket has not taken; a server so far behind is waited for, not fed
END = b"\r\n"
MESSAGE, WITH_HEADERS = b"MH"  # the first byte of MSG and of HMSG; no other line of the protocol begins with these


class Wire(asyncio.Protocol):
    """Between the socket of one connection and nats-py. Made by `tap` for every connection anew."""

    def __init__(self, client: Client, socket: asyncio.Transport, failed: Callable[[Exception], None]) -> None:
        self._client = client
        self._socket = socket
        self._failed = failed
        self._nats: Any = socket.get_protocol()  # the stream reader's
        self._clear = False
        self._rest = b""  # the beginning of a message whose end has not arrived
        self._unsent: list[bytes] = []
        self._soon = False  # it leaves at the end of this turn of the loop
        self._loop = asyncio.get_running_loop()

    @property
    def address(self) -> str:
        """Our end of the socket: this machine's address in the network in which the server is."""
        return str(self._socket.get_extra_info("sockname")[0])

    # --- out ----------------------------------------------------------------------------------------------------------

    @property
    def free(self) -> bool:
        """Whether a message may be written now: connected, nothing waits in nats-py, the socket keeps up."""
        client = self._client
        return (
            client.is_connected
            and not client._pending
            and not self._socket.is_closing()
            and self._socket.get_write_buffer_size() < MAX_UNSENT
        )

    def write(self, subject: str, data: bytes, reply: str, headers: bytes, *, lingers: bool = False) -> None:
        """Only while `free`. headers: a whole header block of NATS (ADR-4), or empty. lingers: LINGER_S at most.

        What is written in one turn of the event loop leaves together, and with it what lingers: a system call, and that
        the server and the receiver wake, costs more than a frame.
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
        """Send what was written, now."""
        self._soon = False
        if self._unsent:
            self._socket.write(b"".join(self._unsent))
            self._unsent.clear()

    # --- in -----------------------------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Hand over every whole message in `data`, and keep what is left."""
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
                    if data[begin] == WITH_HEADERS:
                        body += int(words.pop(-2))
                    reply = words[3].decode() if len(words) > 4 else ""
                    self._call(callback, words[1].decode(), data[body : end - len(END)], reply)
                else:
                    self._nats.data_received(data[begin:end])
            else:
                self._nats.data_received(data[begin:end])
            begin = end
        self._rest = data[begin:]

    def _callback(self, number: bytes) -> Callback | None:
        subscription = self._client._subs.get(int(number))
        return getattr(subscription._cb, "plain", None) if subscription else None

    def _call(self, callback: Callback, subject: str, data: bytes, reply: str) -> None:
        try:
            callback(subject, data, reply)
        except Exception as error:  # noqa: BLE001 - raised here it would cut the connection for everybody
            self._failed(error)

    def _caught_up(self) -> bool:
        """Whether nats-py holds nothing that came before, so that nothing is overtaken."""
        parser = self._client._ps
        return (
            not self._nats._stream_reader._buffer
            and not parser.buf
            and parser.state == AWAITING_CONTROL_LINE
            and all(subscription._pending_queue.empty() for subscription in self._client._subs.values())
        )

    # --- what else a socket tells: all of it is for nats-py -----------------------------------------------------------

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
    """The wire of a client that has just connected; None where it has no socket of its own (NATS over websocket).

    failed: told what a callback raised.
    """
    transport = client._transport
    if not isinstance(transport, TcpTransport) or transport._io_writer is None:
        return None
    socket: Any = transport._io_writer.transport
    wire = Wire(client, socket, failed)
    socket.set_protocol(wire)
    return wire


def plain(callback: Callback) -> Callable[[Any], Any]:
    """A callback for nats-py that the wire may call without it."""

    async def deliver(message: Any) -> None:
        callback(message.subject, message.data, message.reply)

    deliver.__dict__["plain"] = callback
    return deliver
