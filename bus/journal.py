"""What is remembered of every call: stream CALLS captures the facts that ride on core NATS.

A fact is published once, with `Nats-Msg-Id` and a reply inbox, so that the stream drops repeats and acknowledges what
it has kept. Calls never wait for it: while JetStream has no leader the facts still reach the stages.
"""

import asyncio

import nats.errors
from nats.js import api
from nats.js.errors import APIError
from nats.js.errors import Error as JetStreamError

from bus.connect import Bus
from bus.errors import Unreachable
from schemas import subjects

STREAM = "CALLS"
KEEP_S = 7 * 24 * 3600
KEEP_BYTES = 1024**3
DUPLICATES_S = 120  # a fact is re-sent within seconds or not at all
READY_WITHIN_S = 5.0  # a server opens its port before JetStream answers
FETCH = 500


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
    """Says facts so that they are kept. `said - kept` is what was not acknowledged yet."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._acks = bus.new_inbox()
        self.said = 0
        self.kept = 0

    async def open(self) -> None:
        """Listen for acknowledgements."""
        await self._bus.subscribe(self._acks, self._acknowledged)

    def publish(self, subject: str, data: bytes, message_id: str) -> None:
        """Say a fact; `message_id` is `<session>-<stage>-<epoch>-<seq>`."""
        self.said += 1
        self._bus.publish(subject, data, self._acks, {"Nats-Msg-Id": message_id})

    def _acknowledged(self, _subject: str, data: bytes, _reply: str) -> None:
        if data.startswith(b'{"stream"'):
            self.kept += 1


async def read(bus: Bus, session: str) -> list[bytes]:
    """All facts of a session that the journal holds, in the order they were kept. Raises Unreachable."""
    try:
        jetstream = bus.client.jetstream()
        consumer = await jetstream.pull_subscribe(
            subjects.events(session=session),
            stream=STREAM,
            config=api.ConsumerConfig(ack_policy=api.AckPolicy.NONE, inactive_threshold=5),
        )
        facts: list[bytes] = []
        try:
            waiting = (await consumer.consumer_info()).num_pending or 0
            while len(facts) < waiting:
                messages = await consumer.fetch(min(FETCH, waiting - len(facts)), timeout=1)
                facts += [message.data for message in messages]
        finally:
            await consumer.unsubscribe()
        return facts
    except (nats.errors.Error, JetStreamError, TimeoutError) as error:
        raise Unreachable(f"the journal does not answer: {type(error).__name__}") from None
