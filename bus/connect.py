"""A process's access to the bus: publish without waiting, subscribe with a callback, request with a deadline.

A `Bus` has two connections. The events connection carries events, control and requests, and buffers while there is no
server. The media connection drops frames instead: a caller must not hear audio that is seconds old. Publishing and
delivery are plain function calls that pass by nats-py where possible (`wire.py`).
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import nats.errors
from nats.aio.client import Client
from nats.aio.subscription import Subscription as NatsSubscription
from nats.micro.request import ERROR_CODE_HEADER, ERROR_HEADER

from bus.connection import EVENTS_BUFFER_BYTES, NO_BUFFER, Connection, dial, quietly
from bus.errors import NoAnswer, NoResponders, ServiceError, Unreachable
from bus.message import Callback, Message
from bus.settings import BusSettings
from bus.wire import plain

FLUSH_WITHIN_S = 1.0
STRAGGLERS_S = 0.05  # a server may deliver to a queue group's member after it has confirmed that the member left
PENDING_MESSAGES = 10_000  # per subscription, in nats-py's own queue: a stall of seconds


class Subscription:
    """Interest in a subject. `drain` ends it without losing queued messages; `unsubscribe` drops them."""

    def __init__(self, subscription: NatsSubscription) -> None:
        self._subscription = subscription

    async def unsubscribe(self) -> None:
        """End the subscription and drop what is queued for it."""
        await quietly(self._subscription.unsubscribe())

    async def drain(self) -> None:
        """End the subscription after its callback has received what the server had already sent."""
        client = self._subscription._conn
        if client.is_connected:
            await quietly(client._send_unsubscribe(self._subscription._id))
            await asyncio.sleep(STRAGGLERS_S)
        await quietly(self._subscription.drain())  # type: ignore[no-untyped-call]


class Bus:
    """The two connections of a process. Made by `connect`."""

    def __init__(self, events: Connection, media: Connection) -> None:
        self._events = events
        self._media = media

    @property
    def client(self) -> Client:
        """The nats-py client of the events connection, for the other files of this package."""
        return self._events.client

    @property
    def connected(self) -> bool:
        """Whether the events connection has a server."""
        return self._events.client.is_connected

    @property
    def server(self) -> str:
        """Address and version of the connected server, "none" without one."""
        url, version = self._events.client.connected_url, self._events.client.connected_server_version
        return f"{url.hostname}:{url.port}, version {version.major}.{version.minor}.{version.patch}" if url else "none"

    @property
    def address(self) -> str:
        """This machine's address as the server sees it; "" where it is unknown (NATS over websocket)."""
        return self._events.address

    @property
    def reconnects(self) -> int:
        """How often the events connection came back after an outage; messages to this process were lost meanwhile."""
        return self._events.client.stats["reconnects"]

    @property
    def undelivered(self) -> int:
        """How many messages of both connections were dropped because no server took them."""
        return self._events.undelivered + self._media.undelivered

    def publish(self, subject: str, data: bytes, reply: str = "", headers: Mapping[str, str] | None = None) -> None:
        """Publish on the events connection, in order, without waiting.

        headers: such as W3C `traceparent`. Raises ValueError for one that contains a line break.
        """
        self._events.publish(subject, data, reply, headers)

    def publish_media(self, subject: str, data: bytes, *, lingers: bool = False) -> None:
        """Publish a frame on the media connection; without a server it is dropped and counted.

        lingers: the frame may wait up to 2 ms, to share a system call with others.
        """
        self._media.publish(subject, data, lingers=lingers)

    async def subscribe(self, subject: str, callback: Callback, queue: str = "") -> Subscription:
        """Call `callback(message)` for each message of the events connection, in order; it must not block.

        queue: of all members of a queue group, one receives each message.
        """
        return await self._subscribe(self._events.client, subject, callback, queue)

    async def subscribe_media(self, subject: str, callback: Callback) -> Subscription:
        """Call `callback(message)` for each message of the media connection, in order; it must not block."""
        return await self._subscribe(self._media.client, subject, callback, "")

    async def request(
        self, subject: str, data: bytes, timeout_s: float, headers: Mapping[str, str] | None = None
    ) -> bytes:
        """Send a request and return the answer. headers: such as W3C `traceparent`.

        Raises NoResponders at once if no process serves the subject, NoAnswer after `timeout_s`, Unreachable if there
        is no connection, and ServiceError if a service answers with an error of the NATS micro convention.
        """
        await self._events.hand_over()
        try:
            given = dict(headers) if headers else None
            answer = await self._events.client.request(subject, data, timeout_s, headers=given)
        except nats.errors.NoRespondersError:
            raise NoResponders(f"cannot ask {subject}: no process serves it") from None
        except (nats.errors.TimeoutError, TimeoutError):
            raise NoAnswer(f"cannot ask {subject}: no answer within {timeout_s * 1000:.0f} ms") from None
        except nats.errors.Error as error:
            raise Unreachable(f"cannot ask {subject}: {error}") from None
        if answer.headers and ERROR_CODE_HEADER in answer.headers:
            raise ServiceError(answer.headers[ERROR_CODE_HEADER], answer.headers.get(ERROR_HEADER, ""))
        return answer.data

    async def gather(self, subject: str, data: bytes, within_s: float, quiet_s: float) -> list[bytes]:
        """Send a request to every process that serves the subject and return the answers.

        Returns after `within_s`, or once no answer has come for `quiet_s` since the first.
        """
        answers: list[bytes] = []
        came = asyncio.Event()

        def collect(message: Message) -> None:
            if message.data:
                answers.append(message.data)
                came.set()

        inbox = self.new_inbox()
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
        """Return when the server has taken everything sent before, subscriptions included, or after a second.

        media: False waits for the events connection only; many frames may be queued on the other one.
        """
        for connection in (self._events, self._media) if media else (self._events,):
            await connection.hand_over()
            await quietly(connection.client.flush(timeout=int(FLUSH_WITHIN_S)))

    def new_inbox(self) -> str:
        """Return a unique subject for answers."""
        return self._events.client.new_inbox()

    @staticmethod
    async def _subscribe(client: Client, subject: str, callback: Callback, queue: str) -> Subscription:
        made = await client.subscribe(subject, queue=queue, cb=plain(callback), pending_msgs_limit=PENDING_MESSAGES)
        return Subscription(made)


@asynccontextmanager
async def connect(settings: BusSettings, name: str = "antiphon") -> AsyncIterator[Bus]:
    """Connect to `settings.url`; leaving drains both connections. Raises Unreachable."""
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
