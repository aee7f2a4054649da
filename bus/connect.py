"""A process's door to the bus: publish without waiting, subscribe by callback, ask with a deadline.

Two connections: one for events, control and requests, which buffers while the server is away; one for media, which
refuses to (a caller must not hear a burst of what was said seconds ago). Publishing and delivery are plain calls, past
nats-py where the way is clear (`wire.py`).
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import nats.errors
from nats.aio.client import Client
from nats.aio.subscription import Subscription as NatsSubscription
from nats.micro.request import ERROR_CODE_HEADER, ERROR_HEADER

from bus.connection import EVENTS_BUFFER_BYTES, NO_BUFFER, Connection, dial, quietly
from bus.errors import NoAnswer, NoResponders, ServiceError, Unreachable
from bus.wire import Callback, plain
from schemas.settings import BusSettings

FLUSH_WITHIN_S = 1.0
STRAGGLERS_S = 0.05  # a server may deliver to a queue group's member after it has confirmed that it left
PENDING_MESSAGES = 10_000  # per subscription, for what goes through nats-py's own queues: a stall of seconds


class Subscription:
    """Interest in a subject. `drain` leaves without losing what was already queued; `unsubscribe` drops it."""

    def __init__(self, subscription: NatsSubscription) -> None:
        self._subscription = subscription

    async def unsubscribe(self) -> None:
        await quietly(self._subscription.unsubscribe())

    async def drain(self) -> None:
        client = self._subscription._conn
        if client.is_connected:
            await quietly(client._send_unsubscribe(self._subscription._id))
            await asyncio.sleep(STRAGGLERS_S)
        await quietly(self._subscription.drain())  # type: ignore[no-untyped-call]


class Bus:
    """What a process says and hears. Made by `connect`."""

    def __init__(self, events: Connection, media: Connection) -> None:
        self._facts = events
        self._media = media
        self._requests: set[asyncio.Task[Any]] = set()

    @property
    def client(self) -> Client:
        """The nats client of events and control, for the other files of this package."""
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
    def address(self) -> str:
        """This machine's, as the server sees it; "" where that cannot be told (NATS over websocket)."""
        return self._facts.address

    @property
    def reconnects(self) -> int:
        """How often events and control came back after an outage: what was said to us meanwhile is lost."""
        return self._facts.client.stats["reconnects"]

    @property
    def undelivered(self) -> int:
        """Messages dropped because no server was there to take them."""
        return self._facts.undelivered + self._media.undelivered

    def publish(self, subject: str, data: bytes, reply: str = "", headers: dict[str, str] | None = None) -> None:
        """Say something on the events connection, in order, without waiting."""
        self._facts.publish(subject, data, reply, headers)

    def publish_media(self, subject: str, data: bytes, *, lingers: bool = False) -> None:
        """Send a frame; it is dropped and counted while the server is away. lingers: 2 ms at most, for others."""
        self._media.publish(subject, data, lingers=lingers)

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

    async def flush(self, *, media: bool = True) -> None:
        """Return when the server has taken all that was said or asked for before, subscriptions included.

        Without `media` only events and control are waited for: the other connection may have many frames before it.
        """
        for connection in (self._facts, self._media) if media else (self._facts,):
            await connection.hand_over()
            await quietly(connection.client.flush(timeout=int(FLUSH_WITHIN_S)))

    def new_inbox(self) -> str:
        """A subject nobody else knows."""
        return self._facts.client.new_inbox()

    @staticmethod
    async def _subscribe(client: Client, subject: str, callback: Callback, queue: str) -> Subscription:
        made = await client.subscribe(subject, queue=queue, cb=plain(callback), pending_msgs_limit=PENDING_MESSAGES)
        return Subscription(made)


@asynccontextmanager
async def connect(settings: BusSettings, name: str = "antiphon") -> AsyncIterator[Bus]:
    """The bus at `settings.url`; raises Unreachable. Leaving it drains both connections."""
    events = await dial(settings, name, EVENTS_BUFFER_BYTES)
    try:
        media = await dial(settings, f"{name} media", NO_BUFFER)
    except Unreachable:
        await events.close()
        raise
    writers = [asyncio.create_task(connection.write()) for connection in (events, media)]
    bus = Bus(events, media)
    try:
        yield bus
    finally:
        if bus.connected:
            await bus.flush()
        for writer in writers:
            writer.cancel()
        for connection in (events, media):
            await connection.close()
