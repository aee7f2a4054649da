"""One nats connection: made from settings, publishing by a plain call, and quiet farewells."""

import asyncio
import logging
import os
import ssl
from collections import deque
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

import nats.errors
from nats.aio.client import Client

from bus.errors import Unreachable
from bus.wire import Wire, tap
from schemas.settings import BusSettings
from telemetry.logs import places

CONNECT_WITHIN_S = 3.0
DRAIN_WITHIN_S = 2
RECONNECT_EVERY_S = 0.1
PING_EVERY_S = 1  # a frozen server is noticed after two
OUTBOX = 20_000  # messages; two seconds of frames from 200 sessions
EVENTS_BUFFER_BYTES = 2 * 1024 * 1024  # what the events connection keeps while the server is away
NO_BUFFER = -1
MAX_HEADERS = 1024  # bytes; the server counts them with the payload, and ours are an id

log = logging.getLogger(__name__)


class Connection:
    """One nats connection. A message is written at once where the wire is free; otherwise it waits in the outbox."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.undelivered = 0  # messages that could not be handed to a server
        self._wire: Wire | None = None
        self._outbox: deque[tuple[str, bytes, str, dict[str, str] | None]] = deque()
        self._wake = asyncio.Event()

    @property
    def address(self) -> str:
        """This machine's, as the server sees it; "" where that cannot be told (NATS over websocket)."""
        return self._wire.address if self._wire else ""

    def publish(
        self,
        subject: str,
        data: bytes,
        reply: str = "",
        headers: dict[str, str] | None = None,
        *,
        lingers: bool = False,
    ) -> None:
        """Say a message, in order; a full outbox drops and counts it, as does one above the server's `max_payload`.

        lingers: it may wait 2 ms for others.
        """
        wire = self._wire
        if wire and not self._outbox and wire.free and len(data) < self.client.max_payload - MAX_HEADERS:
            wire.write(subject, data, reply, _block(headers) if headers else b"", lingers=lingers)
        elif len(self._outbox) < OUTBOX:
            self._outbox.append((subject, data, reply, headers))
            self._wake.set()
        else:
            self.undelivered += 1

    async def write(self) -> None:
        """Hand the outbox to nats-py for as long as the connection lives."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            await self.hand_over()

    async def hand_over(self) -> None:
        """Send what was said, and hand to nats-py what is in the outbox now."""
        if self._wire:
            self._wire.flush()
        while self._outbox:
            subject, data, reply, headers = self._outbox.popleft()
            try:
                await self.client.publish(subject, data, reply, headers)
            except nats.errors.Error:
                self.undelivered += 1

    async def connected(self) -> None:
        """A server has just taken us, or taken us back."""
        self._wire = tap(self.client, self._failed)

    async def close(self) -> None:
        """Say what was said, and go; whatever state the connection is in, nothing of it is left when this returns."""
        if self.client.is_connected:  # a server that is gone would be waited for
            await quietly(self.client.drain())
        await quietly(self.client.close())
        reconnecting = self.client._reconnection_task
        with suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_WITHIN_S):
                while reconnecting and not reconnecting.done():  # it can swallow a cancel, and would then dial for ever
                    reconnecting.cancel()
                    await asyncio.wait([reconnecting], timeout=RECONNECT_EVERY_S)

    @staticmethod
    def _failed(error: Exception) -> None:
        log.error("a callback of the bus failed: %s at %s", type(error).__name__, places(error))

    async def forget(self) -> None:
        """Drop what was not sent yet, here and in nats-py, which would send it after the reconnect."""
        self.undelivered += len(self._outbox)
        self._outbox.clear()
        self.client._pending.clear()
        self.client._pending_data_size = 0


async def dial(settings: BusSettings, name: str, buffer_bytes: int) -> Connection:
    """A connection that comes back for ever; raises Unreachable once every server has refused.

    buffer_bytes: what is kept while the server is away; with NO_BUFFER nothing is, and what a frozen server never took
    is forgotten.
    """
    servers = [url.strip() for url in settings.url.split(",")]
    refusals: list[Exception] = []  # why the first connection did not come about; later troubles go to the log
    all_refused = asyncio.Event()

    async def report(error: Exception) -> None:
        if client.is_connected or client.is_reconnecting:
            log.warning("nats: %s", type(error).__name__)
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
            "reconnected_cb": connection.connected,
        }
        if buffer_bytes == NO_BUFFER:
            options["disconnected_cb"] = connection.forget
        connecting = asyncio.ensure_future(client.connect(**options, pending_size=buffer_bytes))
        refused = asyncio.ensure_future(all_refused.wait())
        await asyncio.wait([connecting, refused], timeout=CONNECT_WITHIN_S, return_when=asyncio.FIRST_COMPLETED)
        refused.cancel()
        if client.is_connected:
            await connection.connected()
            return connection
        connecting.cancel()
        await asyncio.wait([connecting], timeout=DRAIN_WITHIN_S)
        if connecting.done() and not connecting.cancelled():
            refusal = connecting.exception()  # asyncio wants it looked at; of a URL that is none nobody else tells
            refusals += [refusal] if isinstance(refusal, Exception) else []
    except (OSError, nats.errors.Error, ValueError) as error:  # a file that is not there, a URL that is none
        refusals.insert(0, error)
    with suppress(AssertionError):  # what nats says where a URL was so wrong that it did not even try
        await quietly(client.close())
    shown = ", ".join(_without_password(url) for url in servers)
    raise Unreachable(
        f"no NATS server at {shown} ({_reason(refusals)}): is `antiphon up` running? "
        "say where with --nats URL or ANTIPHON_NATS_URL"
    )


def _block(headers: dict[str, str]) -> bytes:
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"NATS/1.0\r\n{lines}\r\n".encode()


async def quietly(closing: Coroutine[Any, Any, Any]) -> None:
    """Await a farewell that may fail because the other side is gone already.

    In a task of its own: what nats-py cancels while it leaves can come back to it as if we had been cancelled.
    """
    farewell = asyncio.ensure_future(closing)
    try:
        await asyncio.wait([farewell], timeout=DRAIN_WITHIN_S + 1)
        if farewell.done() and not farewell.cancelled():
            with suppress(nats.errors.Error, TimeoutError, OSError):
                farewell.result()
    finally:
        farewell.cancel()


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
        return os.strerror(first.errno) if first.errno > 0 else str(first.strerror)  # below 0: a name of nobody
    return str(first or "") or "no answer"


def _without_password(url: str) -> str:
    parts = urlsplit(url)
    return url.replace(parts.netloc.rpartition("@")[0] + "@", "") if "@" in parts.netloc else url
