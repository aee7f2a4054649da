"""The journal of every session: stream CALLS captures the events that stages publish on core NATS.

An event is published once, with `Nats-Msg-Id`, so that the stream drops repeats. No reply subject is given, so the
stream sends no acknowledgement: no session waits for one. While JetStream has no leader, events still reach the stages.
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
DUPLICATES_S = 120  # an event is published again within seconds or not at all
READY_WITHIN_S = 5.0  # a server opens its port before JetStream answers
FETCH = 500  # messages a reader requests at a time and holds in memory
FETCH_WITHIN_S = 5.0  # a server that is busy with calls answers a reader late
IDLE_S = 60.0  # the server deletes the consumer of a reader that was silent for so long

_ERRORS = (nats.errors.Error, JetStreamError, TimeoutError)


async def ensure(bus: Bus) -> None:
    """Create the stream unless it exists. Raises Unreachable if JetStream does not answer."""
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
                    if error.code == 400:  # it exists with other limits: an operator's choice
                        return
                    await asyncio.sleep(0.1)
                except (nats.errors.Error, JetStreamError):
                    await asyncio.sleep(0.1)
    except TimeoutError:
        raise Unreachable(
            f"cannot open the journal: JetStream did not answer within {READY_WITHIN_S:.0f} s. "
            "Start nats-server with JetStream (-js)."
        ) from None


async def check(bus: Bus) -> None:
    """Raise Unreachable unless JetStream answers. Changes nothing."""
    try:
        await bus.client.jetstream(timeout=1).account_info()
    except _ERRORS as error:
        raise _unreachable(error) from None


def publish(bus: Bus, subject: str, data: bytes, message_id: str) -> None:
    """Publish an event so that the journal keeps it once. message_id: `<session>-<stage>-<epoch>-<seq>`."""
    bus.publish(subject, data, headers={"Nats-Msg-Id": message_id})


class Extent(NamedTuple):
    """The sequences `first` to `last` of the journal; it is empty if `last` is below `first`.

    created: ISO time at which the stream was made; equal sequences of another stream are other events.
    """

    first: int
    last: int
    created: str


class Kept(NamedTuple):
    """An event in the journal. sequence: counts from 1. at: UTC microseconds at which the journal stored it."""

    sequence: int
    at: int
    data: bytes


async def extent(bus: Bus) -> Extent:
    """Return which sequences the journal holds. Raises Unreachable, also where there is no journal."""
    try:
        info = await bus.client.jetstream(timeout=FETCH_WITHIN_S).stream_info(STREAM)
    except NotFoundError:
        raise Unreachable(
            f"cannot read the journal: this server has no stream {STREAM}. "
            "Start an ingress, which creates the stream, or set --nats to the right server."
        ) from None
    except _ERRORS as error:
        raise _unreachable(error) from None
    return Extent(info.state.first_seq, info.state.last_seq, info.created.isoformat() if info.created else "")


async def batches(
    bus: Bus, subject: str, *, after: int = 0, since: datetime | None = None, until: int | None = None
) -> AsyncGenerator[list[Kept], None]:
    """Yield the events on `subject` in order and without a gap, at most FETCH in a batch.

    Begins behind the sequence `after`, or at the time `since`. Ends with the sequence `until`, or with the last event
    that the journal held at the beginning. Raises Unreachable, also if a batch takes longer than FETCH_WITHIN_S;
    batches yielded before stay valid.
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
                metadata = [message.metadata for message in messages]
                read += len(messages)
                if metadata[-1].sequence.consumer != read:  # nothing is sent twice: a lost message leaves a gap
                    raise Unreachable("cannot read the journal: a message of a batch was lost. Read again.")
                left = min(left - len(messages), metadata[-1].num_pending)
                batch = [
                    Kept(one.sequence.stream, round(one.timestamp.timestamp() * 1_000_000), message.data)
                    for one, message in zip(metadata, messages, strict=True)
                    if until is None or one.sequence.stream <= until
                ]
                if batch:
                    yield batch
                if len(batch) < len(messages):
                    return
        finally:
            await quietly(consumer.unsubscribe())
            await quietly(jetstream.delete_consumer(STREAM, info.name))
    except _ERRORS as error:
        raise _unreachable(error) from None


async def read(bus: Bus, session: str) -> list[bytes]:
    """Return all events of a session that the journal holds, in order. Raises Unreachable."""
    return [kept.data async for batch in batches(bus, subjects.events(session=session)) for kept in batch]


def _unreachable(error: Exception) -> Unreachable:
    return Unreachable(f"cannot reach the journal: JetStream answered {type(error).__name__}")
