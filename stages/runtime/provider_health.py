"""The health of providers as one worker knows it: its own breakers, shared with every worker over the bus.

A change is broadcast at once. The KV bucket keeps it for workers that start later, and decides which one worker tries a
provider that failed. Without JetStream a worker decides alone: two workers may then try the provider at once.
"""

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
import structlog

from bus import kv
from bus.connect import Bus
from bus.errors import BusError
from bus.message import Message
from schemas import control, subjects
from schemas.breakers import BUCKET, BreakerKey, BreakerState
from schemas.events import ProviderErrorKind
from schemas.provider_keys import ProviderKeys
from stages.runtime.breakers import Breakers

FINGERPRINT = 16  # hexadecimal digits; keys hold at least 128 random bits, so that no digest gives one away
LEASE_WITHIN_S = 0.1  # a caller waits for it; a store that takes longer than this is left out

log = structlog.get_logger("providers")


class ProviderHealth:
    """The breakers of one worker. They are this worker's own until `shared` connects them to the others."""

    def __init__(self, worker: str = "", fingerprint: str = "") -> None:
        self.breakers = Breakers(worker, fingerprint)
        self._bus: Bus | None = None
        self._bucket: kv.Bucket | None = None
        self._storing: set[asyncio.Task[bool]] = set()

    async def admit(self, key: BreakerKey) -> bool:
        """Return whether a session may use the provider now. Takes at most 0.1 s, and no time while all is well.

        After True the caller reports `succeeded` or `failed`.
        """
        verdict, state = self.breakers.verdict(key, _now_us())
        if verdict != "attempt" or state is None:
            return verdict == "use"
        attempt = self.breakers.attempt(state, _now_us())  # before any wait: this worker tries once
        try:
            async with asyncio.timeout(LEASE_WITHIN_S):
                leased = await self._lease(state, attempt)
        except (BusError, TimeoutError):
            leased = True
        if leased:
            self._broadcast(attempt)
        return leased

    def succeeded(self, key: BreakerKey) -> None:
        """Note that the provider did its work."""
        for state in self.breakers.succeeded(key, _now_us()):
            log.info("provider recovered", stage=key.stage, provider=key.provider, host=key.host)
            self._share(state)

    def is_used(self, key: BreakerKey) -> bool:
        """Return whether sessions use the provider. A provider that waits for an attempt is not used."""
        return self.breakers.verdict(key, _now_us())[0] == "use"

    def failed(self, key: BreakerKey, kind: ProviderErrorKind, retry_after_s: float | None = None) -> None:
        """Note that the provider failed. retry_after_s: the wait that the vendor asked for."""
        state = self.breakers.failed(key, kind, retry_after_s, _now_us())
        if state is not None:
            log.warning("provider avoided", stage=key.stage, provider=key.provider, host=key.host, kind=kind)
            self._share(state)

    @asynccontextmanager
    async def shared(self, bus: Bus) -> AsyncIterator[None]:
        """Share the breakers with every worker on the bus, and learn theirs."""
        self._bus = bus
        subscription = await bus.subscribe(subjects.breaker_changed(), self._learn)
        opening = asyncio.create_task(self._read_all(bus))  # JetStream may be slow; no worker waits for it
        try:
            yield
        finally:
            opening.cancel()
            await asyncio.wait({opening, *self._storing}, timeout=LEASE_WITHIN_S)
            await subscription.unsubscribe()
            self._bus = self._bucket = None

    async def _read_all(self, bus: Bus) -> None:
        try:
            self._bucket = bucket = await kv.bucket(bus, BUCKET, create=True)
            for token in await bucket.keys():
                value = await bucket.get(token)
                if value:
                    self.breakers.learn(control.decode(value, BreakerState))
        except (BusError, control.BadMessage) as error:
            log.warning("cannot read the health of providers", cause=str(error))

    def _learn(self, message: Message) -> None:
        try:
            self.breakers.learn(control.decode(message.data, BreakerState))
        except control.BadMessage:
            log.warning("cannot read a breaker that another worker published")

    def _share(self, state: BreakerState) -> None:
        self._broadcast(state)
        if self._bucket is not None:
            storing = asyncio.create_task(self._store(self._bucket, state))
            self._storing.add(storing)
            storing.add_done_callback(self._storing.discard)

    def _broadcast(self, state: BreakerState) -> None:
        if self._bus is not None:
            self._bus.publish(subjects.breaker_changed(), control.encode(state))

    async def _lease(self, state: BreakerState, attempt: BreakerState) -> bool:
        """Store the attempt unless another worker was first."""
        return self._bucket is None or await _replace(self._bucket, attempt, newer_than=state.changed_us)

    async def _store(self, bucket: kv.Bucket, state: BreakerState) -> bool:
        try:
            return await _replace(bucket, state, newer_than=state.changed_us - 1)
        except BusError as error:
            log.warning("cannot store the health of a provider", cause=str(error))
            return False


async def _replace(bucket: kv.Bucket, state: BreakerState, newer_than: int) -> bool:
    """Store a breaker unless the stored one has changed after `newer_than`, UTC microseconds. Raises BusError."""
    entry = await bucket.read(state.key.token)
    if entry is not None and entry.value and _changed_us(entry.value) > newer_than:
        return False
    return await bucket.replace(state.key.token, control.encode(state), entry.revision if entry else 0)


def _changed_us(value: bytes) -> int:
    try:
        return control.decode(value, BreakerState).changed_us
    except control.BadMessage:
        return 0


def fingerprint(keys: ProviderKeys) -> str:
    """Return a name for the set of a worker's keys: workers with the same keys share what a vendor says of them."""
    secrets = sorted((name, key.get_secret_value()) for name, key in keys.values.items())
    return hashlib.sha256(msgspec.json.encode(secrets)).hexdigest()[:FINGERPRINT]


def _now_us() -> int:
    return time.time_ns() // 1_000
