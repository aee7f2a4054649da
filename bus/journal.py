"""What is remembered of every call: stream CALLS captures the events that ride on core NATS.

An event is published once, with `Nats-Msg-Id` and a reply inbox, so that the stream drops repeats and acknowledges what
it has kept. Calls never wait for it: while JetStream has no leader the events still reach the stages.
"""

import asyncio
from collections.abc import AsyncGenerator
from datetime import datetime
from typing import NamedTuple

import nats.errors
from nats.js import api
from nats.js.errors import APIError, NotFoundError
from nats.js.errors import Error as JetStreamError

from bus.connect import Bus
from bus.connection import quietly
from bus.errors import Unreachable
from schemas import subjects

STREAM = "CALLS"
KEEP_S = 7 * 24 * 3600
KEEP_BYTES = 1024**3
DUPLICATES_S = 120  # an event is re-sent within seconds or not at all
READY_WITHIN_S = 5.0  # a server opens its port before JetStream answers
FETCH = 500  # messages asked for at a time: what a reader holds in memory
FETCH_WITHIN_S = 5.0  # a reader waits for a server that is busy with calls
IDLE_S = 60.0  # a reader that says nothing for so long is gone, and the server forgets it

_TROUBLES = (nats.errors.Error, JetStreamError, TimeoutError)


async def ensure(bus: Bus) -> None:
    """Create the stream unless it is there. Raises Unreachable when JetStream does not answer."""
    config = api.StreamConfig(
        name=STREAM,
        subjects=[f"{subjects.ROOT}.event.>"],
        max_age=KEEP_S,
        max_bytes=KEEP_BYTES,
        duplicate_window=DUPLICATES_S,
        allow_direct=True,
    )
    jetstream = bus.client.jetstream()
    try:
        async with asyncio.timeout(READY_WITHIN_S):
            while True:
                try:
                    await jetstream.add_stream(config)
                    return
                except APIError as error:
                    if error.code == 400:  # it is there with other limits: an operator's choice
                        return
                    await asyncio.sleep(0.1)
                except (nats.errors.Error, JetStreamError):
                    await asyncio.sleep(0.1)
    except TimeoutError:
        raise Unreachable(f"no answer of JetStream within {READY_WITHIN_S:.0f} s: does the server have it?") from None


async def check(bus: Bus) -> None:
    """Raises Unreachable unless JetStream answers; changes nothing."""
    try:
        await bus.client.jetstream(timeout=1).account_info()
    except (nats.errors.Error, JetStreamError, TimeoutError) as error:
        raise Unreachable(f"JetStream does not answer: {type(error).__name__}") from None


class Journal:
    """Says events so that they are kept. `said - kept` is what was not acknowledged yet."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._acks = bus.new_inbox()
        self.said = 0
        self.kept = 0

    async def open(self) -> None:
        """Listen for acknowledgements."""
        await self._bus.subscribe(self._acks, self._acknowledged)

    def publish(self, subject: str, data: bytes, message_id: str) -> None:
        """Say an event; `message_id` is `<session>-<stage>-<epoch>-<seq>`."""
        self.said += 1
        self._bus.publish(subject, data, self._acks, {"Nats-Msg-Id": message_id})

    def _acknowledged(self, _subject: str, data: bytes, _reply: str) -> None:
        if data.startswith(b'{"stream"'):
            self.kept += 1


class Extent(NamedTuple):
    """What the journal holds: sequences `first` to `last`, nothing if `last` is below `first`.

    created: ISO time at which the stream was made; the same sequences of another stream are other events.
    """

    first: int
    last: int
    created: str


class Kept(NamedTuple):
    """A message as the journal holds it. at: UTC microseconds at which it was kept."""

    sequence: int
    at: int
    data: bytes


async def extent(bus: Bus) -> Extent:
    """What there is to read. Raises Unreachable, also where there is no journal."""
    try:
        info = await bus.client.jetstream(timeout=FETCH_WITHIN_S).stream_info(STREAM)
    except NotFoundError:
        raise Unreachable(
            f"there is no journal on this server: the first ingress makes it (stream {STREAM}); is this the right NATS?"
        ) from None
    except _TROUBLES as error:
        raise _away(error) from None
    return Extent(info.state.first_seq, info.state.last_seq, info.created.isoformat() if info.created else "")


async def batches(
    bus: Bus, subject: str, *, after: int = 0, since: datetime | None = None, until: int | None = None
) -> AsyncGenerator[list[Kept], None]:
    """What the journal holds on `subject` now, in order and without a hole, at most FETCH messages at a time.

    It begins behind the sequence `after`, or at the time `since`, and ends with the sequence `until`, or with what was
    there when it began. Each batch has a deadline. Raises Unreachable; then what was yielded before is still right.
    """
    config = api.ConsumerConfig(ack_policy=api.AckPolicy.NONE, inactive_threshold=IDLE_S)
    if since is not None:
        config.deliver_policy, config.opt_start_time = api.DeliverPolicy.BY_START_TIME, since
    elif after:
        config.deliver_policy, config.opt_start_seq = api.DeliverPolicy.BY_START_SEQUENCE, after + 1
    jetstream = bus.client.jetstream(timeout=FETCH_WITHIN_S)
    try:
        consumer = await jetstream.pull_subscribe(subject, stream=STREAM, config=config, pending_bytes_limit=0)
        info = await consumer.consumer_info()
        try:
            read, left = 0, info.num_pending or 0
            while left > 0:
                messages = await consumer.fetch(min(FETCH, left), timeout=FETCH_WITHIN_S)
                places = [message.metadata for message in messages]
                read += len(messages)
                if places[-1].sequence.consumer != read:  # nothing is sent twice: what got lost on the way is a hole
                    raise Unreachable("the journal was cut off in the middle of an answer")
                left = min(left - len(messages), places[-1].num_pending)
                batch = [
                    Kept(place.sequence.stream, round(place.timestamp.timestamp() * 1_000_000), message.data)
                    for place, message in zip(places, messages, strict=True)
                    if until is None or place.sequence.stream <= until
                ]
                if batch:
                    yield batch
                if len(batch) < len(messages):
                    return
        finally:
            await quietly(consumer.unsubscribe())
            await quietly(jetstream.delete_consumer(STREAM, info.name))
    except _TROUBLES as error:
        raise _away(error) from None


async def read(bus: Bus, session: str) -> list[bytes]:
    """All events of a session that the journal holds, in the order they were kept. Raises Unreachable."""
    return [kept.data async for batch in batches(bus, subjects.events(session=session)) for kept in batch]


def _away(error: Exception) -> Unreachable:
    return Unreachable(f"the journal does not answer: {type(error).__name__}")
