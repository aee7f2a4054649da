"""One NATS connection: dialled from settings, publishing by a plain function call, closed without an error."""

import asyncio
import os
import ssl
from collections import deque
from collections.abc import Coroutine, Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

import nats.errors
import structlog
from nats.aio.client import Client

from bus.errors import Unreachable
from bus.message import format_headers, parse_headers
from bus.settings import BusSettings
from bus.wire import Wire, tap
from telemetry.logs import places

CONNECT_WITHIN_S = 3.0
DRAIN_WITHIN_S = 2
RECONNECT_EVERY_S = 0.1
PING_EVERY_S = 1  # the client drops a frozen server after two unanswered pings
OUTBOX = 20_000  # messages; two seconds of frames from 200 sessions
EVENTS_BUFFER_BYTES = 2 * 1024 * 1024  # kept by the events connection while there is no server
NO_BUFFER = -1
MAX_HEADERS = 1024  # bytes; the server counts them with the payload: a message id and a trace id

log = structlog.get_logger("bus")


class Connection:
    """One NATS connection. It writes a message at once while the wire is free; otherwise the outbox keeps it."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.undelivered = 0  # messages that no server took
        self._wire: Wire | None = None
        self._outbox: deque[tuple[str, bytes, str, bytes]] = deque()
        self._wake = asyncio.Event()

    @property
    def address(self) -> str:
        """This machine's address as the server sees it; "" where it is unknown (NATS over websocket)."""
        return self._wire.address if self._wire else ""

    def publish(
        self,
        subject: str,
        data: bytes,
        reply: str = "",
        headers: Mapping[str, str] | None = None,
        *,
        lingers: bool = False,
    ) -> None:
        """Publish a message, in order. Drops and counts it if the outbox is full or it exceeds `max_payload`.

        lingers: the message may wait up to 2 ms, to share a system call with others. Raises ValueError for a header
        that contains a line break.
        """
        block = format_headers(headers) if headers else b""
        wire = self._wire
        if wire and not self._outbox and wire.free and len(data) < self.client.max_payload - MAX_HEADERS:
            wire.write(subject, data, reply, block, lingers=lingers)
        elif len(self._outbox) < OUTBOX:
            self._outbox.append((subject, data, reply, block))
            self._wake.set()
        else:
            self.undelivered += 1

    async def write(self) -> None:
        """Hand the outbox to nats-py until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            await self.hand_over()

    async def hand_over(self) -> None:
        """Write what the wire holds back, and hand the present outbox to nats-py."""
        if self._wire:
            self._wire.flush()
        while self._outbox:
            subject, data, reply, block = self._outbox.popleft()
            try:
                await self.client.publish(subject, data, reply, parse_headers(block))
            except nats.errors.Error:
                self.undelivered += 1

    async def on_connected(self) -> None:
        """Attach a new wire to the socket of a first or repeated connection."""
        self._wire = tap(self.client, self._failed)

    async def close(self) -> None:
        """Send what is queued and close. Afterwards no task of the connection is left, whatever state it was in."""
        if self.client.is_connected:  # drain would wait for a server that is gone
            await quietly(self.client.drain())
        await quietly(self.client.close())
        reconnecting = self.client._reconnection_task
        with suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_WITHIN_S):
                while reconnecting and not reconnecting.done():  # nats-py can swallow one cancel and would dial on
                    reconnecting.cancel()
                    await asyncio.wait([reconnecting], timeout=RECONNECT_EVERY_S)

    @staticmethod
    def _failed(error: Exception) -> None:
        log.error("bus callback failed", error=type(error).__name__, places=places(error))

    async def drop_unsent(self) -> None:
        """Drop unsent messages, here and in nats-py, which would send them after a reconnect."""
        self.undelivered += len(self._outbox)
        self._outbox.clear()
        self.client._pending.clear()
        self.client._pending_data_size = 0


async def dial(settings: BusSettings, name: str, buffer_bytes: int) -> Connection:
    """Connect to one of the servers and keep reconnecting. Raises Unreachable once each server has refused.

    buffer_bytes: how much is kept while there is no server. With NO_BUFFER nothing is kept, and the connection drops
    what a frozen server has not taken.
    """
    servers = [url.strip() for url in settings.url.split(",")]
    refusals: list[Exception] = []  # of the first connection; later errors go to the log
    all_refused = asyncio.Event()

    async def report(error: Exception) -> None:
        if client.is_connected or client.is_reconnecting:
            log.warning("nats error", error=type(error).__name__)
            return
        refusals.append(error)
        if len(refusals) >= len(servers):
            all_refused.set()

    client = Client()
    connection = Connection(client)
    try:
        options = {
            **_options(settings),
            "servers": servers,
            "name": name,
            "error_cb": report,
            "reconnected_cb": connection.on_connected,
        }
        if buffer_bytes == NO_BUFFER:
            options["disconnected_cb"] = connection.drop_unsent
        connecting = asyncio.ensure_future(client.connect(**options, pending_size=buffer_bytes))
        refused = asyncio.ensure_future(all_refused.wait())
        await asyncio.wait([connecting, refused], timeout=CONNECT_WITHIN_S, return_when=asyncio.FIRST_COMPLETED)
        refused.cancel()
        if client.is_connected:
            await connection.on_connected()
            return connection
        connecting.cancel()
        await asyncio.wait([connecting], timeout=DRAIN_WITHIN_S)
        if connecting.done() and not connecting.cancelled():
            refusal = connecting.exception()  # of an invalid URL this is the only report
            refusals += [refusal] if isinstance(refusal, Exception) else []
    except (OSError, nats.errors.Error, ValueError) as error:  # a missing file, an invalid URL
        refusals.insert(0, error)
    with suppress(AssertionError):  # nats-py raises it for a URL that it could not parse
        await quietly(client.close())
    shown = ", ".join(_without_password(url) for url in servers)
    raise Unreachable(
        f"cannot reach NATS at {shown}: {_reason(refusals)}. "
        "Start `antiphon up`, or set --nats URL or ANTIPHON_NATS_URL."
    )


async def quietly(closing: Coroutine[Any, Any, Any]) -> None:
    """Await a call that may fail because the server is gone already; ignore that failure.

    The call runs in a task of its own: a cancellation inside nats-py would otherwise look like one of the caller.
    """
    task = asyncio.ensure_future(closing)
    try:
        await asyncio.wait([task], timeout=DRAIN_WITHIN_S + 1)
        if task.done() and not task.cancelled():
            with suppress(nats.errors.Error, TimeoutError, OSError):
                task.result()
    finally:
        task.cancel()


def _options(settings: BusSettings) -> dict[str, Any]:
    options: dict[str, Any] = {
        "connect_timeout": 2,
        "max_reconnect_attempts": -1,
        "reconnect_time_wait": RECONNECT_EVERY_S,
        "ping_interval": PING_EVERY_S,
        "max_outstanding_pings": 2,
        "drain_timeout": DRAIN_WITHIN_S,
    }
    if settings.credentials:
        options["user_credentials"] = str(settings.credentials)
    if settings.nkey:
        options["nkeys_seed"] = str(settings.nkey)
    if settings.user:
        options["user"] = settings.user
        options["password"] = settings.password.get_secret_value() if settings.password else ""
    if settings.tls_ca or settings.url.startswith("tls://"):
        options["tls"] = _tls(settings)
    return options


def _tls(settings: BusSettings) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(settings.tls_ca) if settings.tls_ca else None)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if settings.tls_cert:
        context.load_cert_chain(str(settings.tls_cert), str(settings.tls_key) if settings.tls_key else None)
    return context


def _reason(refusals: list[Exception]) -> str:
    first = refusals[0] if refusals else None
    if isinstance(first, OSError) and first.errno:
        return os.strerror(first.errno) if first.errno > 0 else str(first.strerror)  # below 0: an unknown host name
    return str(first or "") or "no answer"


def _without_password(url: str) -> str:
    parts = urlsplit(url)
    return url.replace(parts.netloc.rpartition("@")[0] + "@", "") if "@" in parts.netloc else url
