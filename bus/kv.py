"""A shared cache in JetStream KV. Reads are direct: they need no leader, so they go on while one is elected."""

from typing import NamedTuple

import nats.errors
from nats.js import api
from nats.js.errors import Error as JetStreamError
from nats.js.errors import KeyNotFoundError, KeyWrongLastSequenceError, NoKeysError
from nats.js.kv import KeyValue

from bus.connect import Bus
from bus.errors import BusError, Unreachable

WITHIN_S = 1.0
_TROUBLES = (nats.errors.Error, JetStreamError, TimeoutError)


class Entry(NamedTuple):
    """A value and the revision at which it was stored."""

    value: bytes
    revision: int


class Bucket:
    """Keys and bytes. Every call raises Unreachable when JetStream does not answer within a second."""

    def __init__(self, store: KeyValue) -> None:
        self._store = store

    async def get(self, key: str) -> bytes | None:
        """The value, None if there is none."""
        entry = await self.read(key)
        return entry.value if entry else None

    async def read(self, key: str) -> Entry | None:
        """The value with its revision, for `replace`; None if there is none."""
        try:
            found = await self._store.get(key)
        except KeyNotFoundError:
            return None
        except _TROUBLES as error:
            raise _away(error) from None
        return Entry(found.value or b"", found.revision or 0)

    async def keys(self) -> list[str]:
        try:
            return await self._store.keys()
        except NoKeysError:
            return []
        except _TROUBLES as error:
            raise _away(error) from None

    async def put(self, key: str, value: bytes) -> int:
        """Store; returns the revision."""
        try:
            return await self._store.put(key, value)
        except _TROUBLES as error:
            raise _away(error) from None

    async def replace(self, key: str, value: bytes, last: int) -> bool:
        """Store if the key is still at revision `last` (0: there is no key); False if somebody was first."""
        try:
            if last:
                await self._store.update(key, value, last)
            else:
                await self._store.create(key, value)
        except KeyWrongLastSequenceError:
            return False
        except _TROUBLES as error:
            raise _away(error) from None
        return True

    async def delete(self, key: str) -> None:
        try:
            await self._store.delete(key)
        except _TROUBLES as error:
            raise _away(error) from None


async def bucket(bus: Bus, name: str, *, create: bool = False) -> Bucket:
    """A bucket (history 1, direct reads); `create` makes it first and raises Unreachable.

    Without `create` nobody is asked: a bucket that is not there shows itself at the first read, as Unreachable.
    """
    jetstream = bus.client.jetstream(timeout=WITHIN_S)
    if not create:
        return Bucket(KeyValue(name, f"KV_{name}", f"$KV.{name}.", jetstream, direct=True))
    try:
        return Bucket(await jetstream.create_key_value(api.KeyValueConfig(bucket=name, history=1, direct=True)))
    except _TROUBLES as error:
        raise _away(error) from None


def _away(error: Exception) -> BusError:
    return Unreachable(f"the KV store does not answer: {type(error).__name__}")
