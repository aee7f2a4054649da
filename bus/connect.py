"""A process's door to the bus: publish without waiting, subscribe by callback, ask with a deadline.

Two connections: one for facts, control and requests, which buffers while the server is away; one for media, which
refuses to (a caller must not hear a burst of what was said seconds ago). Publishing is a plain call: messages go to a
bounded outbox, and one task per connection hands them to nats in order.
"""

import asyncio
import logging
import os
import ssl
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any
from urllib.parse import urlsplit

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription as NatsSubscription
from nats.micro.request import ERROR_CODE_HEADER, ERROR_HEADER

from bus.errors import NoAnswer, NoResponders, ServiceError, Unreachable
from schemas.settings import BusSettings

CONNECT_WITHIN_S = 3.0
FLUSH_WITHIN_S = 1.0
DRAIN_WITHIN_S = 2
RECONNECT_EVERY_S = 0.1
PING_EVERY_S = 1  # a frozen server is noticed after two
OUTBOX = 20_000  # messages; two seconds of frames from 200 sessions
PENDING_MESSAGES = 10_000  # per subscription; callbacks only enqueue, so this is a stall of seconds
FACTS_BUFFER_BYTES = 2 * 1024 * 1024  # what the facts connection keeps while the server is away
NO_BUFFER = -1

Callback = Callable[[str, bytes, str], None]

log = logging.getLogger(__name__)


class Subscription:
    """Interest in a subject. `drain` leaves without losing what was already queued; `unsubscribe` drops it."""

    def __init__(self, subscription: NatsSubscription) -> None:
        self._subscription = subscription

    async def unsubscribe(self) -> None:
        await _quietly(self._subscription.unsubscribe())

    async def drain(self) -> None:
        await _quietly(self._subscription.drain())  # type: ignore[no-untyped-call]


class Connection:
    """One nats connection with an outbox."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.undelivered = 0  # messages that could not be handed to a server
        self._outbox: deque[tuple[str, bytes, str, dict[str, str] | None]] = deque()
        self._wake = asyncio.Event()

    def publish(self, subject: str, data: bytes, reply: str = "", headers: dict[str, str] | None = None) -> None:
        if len(self._outbox) >= OUTBOX:
            self.undelivered += 1
            return
        self._outbox.append((subject, data, reply, headers))
        self._wake.set()

    async def write(self) -> None:
        """Hand the outbox to nats for as long as the connection lives."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            await self.hand_over()

    async def hand_over(self) -> None:
        while self._outbox:
            subject, data, reply, headers = self._outbox.popleft()
            try:
                await self.client.publish(subject, data, reply, headers)
            except nats.errors.Error:
                self.undelivered += 1


class Bus:
    """What a process says and hears. Made by `connect`."""

    def __init__(self, facts: Connection, media: Connection) -> None:
        self._facts = facts
        self._media = media
        self._requests: set[asyncio.Task[Any]] = set()

    @property
    def client(self) -> Client:
        """The nats client of facts and control, for the other files of this package."""
        return self._facts.client

    @property
    def connected(self) -> bool:
        return self._facts.client.is_connected

    @property
    def server(self) -> str:
        """The server we are connected to, and its version."""
        url = self._facts.client.connected_url
        return f"{url.hostname}:{url.port}, version {self._facts.client.connected_server_version}" if url else "none"

    @property
    def reconnects(self) -> int:
        """How often facts and control came back after an outage: what was said to us meanwhile is lost."""
        return self._facts.client.stats["reconnects"]

    @property
    def undelivered(self) -> int:
        """Messages dropped because no server was there to take them."""
        return self._facts.undelivered + self._media.undelivered

    def publish(self, subject: str, data: bytes, reply: str = "", headers: dict[str, str] | None = None) -> None:
        """Say something on the facts connection, in order, without waiting."""
        self._facts.publish(subject, data, reply, headers)

    def publish_media(self, subject: str, data: bytes) -> None:
        """Send a frame; it is dropped and counted while the server is away."""
        self._media.publish(subject, data)

    async def subscribe(self, subject: str, callback: Callback, queue: str = "") -> Subscription:
        """Call `callback(subject, data, reply)` for each message, in order; it must not block."""
        return await self._subscribe(self._facts.client, subject, callback, queue)

    async def subscribe_media(self, subject: str, callback: Callback) -> Subscription:
        """The same on the media connection."""
        return await self._subscribe(self._media.client, subject, callback, "")

    async def request(self, subject: str, data: bytes, timeout_s: float) -> bytes:
        """Ask and wait; raises NoResponders at once where nobody serves the subject, NoAnswer after `timeout_s`.

        Raises ServiceError when a service answers with an error of the NATS micro convention.
        """
        await self._facts.hand_over()
        try:
            answer = await self._facts.client.request(subject, data, timeout=timeout_s)
        except nats.errors.NoRespondersError:
            raise NoResponders(f"nobody answers on {subject}") from None
        except (nats.errors.TimeoutError, TimeoutError):
            raise NoAnswer(f"no answer on {subject} within {timeout_s * 1000:.0f} ms") from None
        except nats.errors.Error as error:
            raise Unreachable(f"cannot ask on {subject}: {error}") from None
        if answer.headers and ERROR_CODE_HEADER in answer.headers:
            raise ServiceError(answer.headers[ERROR_CODE_HEADER], answer.headers.get(ERROR_HEADER, ""))
        return answer.data

    async def gather(self, subject: str, data: bytes, within_s: float, quiet_s: float) -> list[bytes]:
        """Ask everybody: the answers of `within_s`, or until none has come for `quiet_s`."""
        answers: list[bytes] = []
        came = asyncio.Event()

        def collect(_subject: str, answer: bytes, _reply: str) -> None:
            if answer:
                answers.append(answer)
                came.set()

        inbox = self._facts.client.new_inbox()
        subscription = await self.subscribe(inbox, collect)
        self.publish(subject, data, inbox)
        try:
            async with asyncio.timeout(within_s):
                await came.wait()
                while came.is_set():
                    came.clear()
                    await asyncio.sleep(quiet_s)
        except TimeoutError:
            pass
        finally:
            await subscription.unsubscribe()
        return answers

    async def flush(self) -> None:
        """Return when the server has taken all that was said or asked for before, subscriptions included."""
        for connection in (self._facts, self._media):
            await connection.hand_over()
            await _quietly(connection.client.flush(timeout=int(FLUSH_WITHIN_S)))

    def new_inbox(self) -> str:
        """A subject nobody else knows."""
        return self._facts.client.new_inbox()

    @staticmethod
    async def _subscribe(client: Client, subject: str, callback: Callback, queue: str) -> Subscription:
        async def deliver(message: Msg) -> None:
            callback(message.subject, message.data, message.reply)

        made = await client.subscribe(subject, queue=queue, cb=deliver, pending_msgs_limit=PENDING_MESSAGES)
        return Subscription(made)


@asynccontextmanager
async def connect(settings: BusSettings, name: str = "antiphon") -> AsyncIterator[Bus]:
    """The bus at `settings.url`; raises Unreachable. Leaving it drains both connections."""
    facts = Connection(await _client(settings, name, FACTS_BUFFER_BYTES))
    try:
        media = Connection(await _client(settings, f"{name} media", NO_BUFFER))
    except Unreachable:
        await facts.client.close()
        raise
    writers = [asyncio.create_task(connection.write()) for connection in (facts, media)]
    bus = Bus(facts, media)
    try:
        yield bus
    finally:
        await bus.flush()
        for writer in writers:
            writer.cancel()
        for connection in (facts, media):
            await _quietly(connection.client.drain())
            await _quietly(connection.client.close())


async def _client(settings: BusSettings, name: str, buffer_bytes: int) -> Client:
    shown = ", ".join(_without_password(url) for url in settings.url.split(","))
    refused: list[Exception] = []  # why the first connection did not come about; later troubles go to the log

    async def report(error: Exception) -> None:
        if client.is_connected or client.is_reconnecting:
            log.warning("nats: %s", type(error).__name__)
        else:
            refused.append(error)

    async def forget() -> None:
        # What a frozen server did not take is still queued here, and nats-py would send it after the reconnect.
        client._pending.clear()
        client._pending_data_size = 0

    client = Client()
    options: dict[str, Any] = {
        "servers": [url.strip() for url in settings.url.split(",")],
        "name": name,
        "error_cb": report,
        "connect_timeout": 2,
        "max_reconnect_attempts": -1,
        "reconnect_time_wait": RECONNECT_EVERY_S,
        "ping_interval": PING_EVERY_S,
        "max_outstanding_pings": 2,
        "drain_timeout": DRAIN_WITHIN_S,
        "pending_size": buffer_bytes,
    }
    if buffer_bytes == NO_BUFFER:
        options["disconnected_cb"] = forget
    if settings.credentials:
        options["user_credentials"] = str(settings.credentials)
    if settings.nkey:
        options["nkeys_seed"] = str(settings.nkey)
    if settings.user:
        options["user"] = settings.user
        options["password"] = settings.password.get_secret_value() if settings.password else ""
    try:
        if settings.tls_ca or settings.url.startswith("tls://"):
            options["tls"] = _tls(settings)
        await asyncio.wait_for(client.connect(**options), CONNECT_WITHIN_S)
        return client
    except (TimeoutError, OSError, nats.errors.Error, ValueError) as error:
        await _quietly(client.close())
        first = refused[0] if refused else error
        reason = os.strerror(first.errno) if isinstance(first, OSError) and first.errno else str(first) or "no answer"
        raise Unreachable(
            f"no NATS server at {shown} ({reason}): is `antiphon up` running? "
            "say where with --nats URL or ANTIPHON_NATS_URL"
        ) from None


def _tls(settings: BusSettings) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(settings.tls_ca) if settings.tls_ca else None)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if settings.tls_cert:
        context.load_cert_chain(str(settings.tls_cert), str(settings.tls_key) if settings.tls_key else None)
    return context


def _without_password(url: str) -> str:
    parts = urlsplit(url.strip())
    return url.strip() if "@" not in parts.netloc else url.strip().replace(parts.netloc.rpartition("@")[0] + "@", "")


async def _quietly(closing: Any) -> None:
    """Await a farewell that may fail because the other side is gone already."""
    with suppress(nats.errors.Error, TimeoutError, OSError):
        await asyncio.wait_for(closing, DRAIN_WITHIN_S + 1)
