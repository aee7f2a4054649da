"""A shared cache in JetStream KV. Reads are direct: they need no leader, so they go on while one is elected."""

import json
from typing import NamedTuple

import nats.errors
from nats.js import api
from nats.js.errors import APIError, KeyNotFoundError, KeyWrongLastSequenceError
from nats.js.errors import Error as JetStreamError
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

    def __init__(self, bus: Bus, store: KeyValue, name: str) -> None:
        self._bus = bus
        self._store = store
        self._name = name

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
        """Every key that was ever put, also one deleted since: what marks it deleted stays. A read tells them apart.

        The stream's own index is asked, not a watcher: that takes a message still on its way for none at all.
        """
        prefix = f"$KV.{self._name}."
        found: dict[str, None] = {}  # a key put between two pages shifts the second, which then repeats one
        offset, total = 0, 1
        while offset < total:
            asked = json.dumps({"subjects_filter": f"{prefix}>", "offset": offset}).encode()
            try:
                answer = await self._bus.client.request(f"$JS.API.STREAM.INFO.KV_{self._name}", asked, WITHIN_S)
                page = json.loads(answer.data)
                if "error" in page:
                    APIError.from_error(page["error"])
            except _TROUBLES as error:
                raise _away(error) from None
            subjects = page["state"].get("subjects") or {}
            found.update(dict.fromkeys(subject.removeprefix(prefix) for subject in subjects))
            offset += len(subjects)
            total = page.get("total", 0) if subjects else 0
        return list(found)

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
        return Bucket(bus, KeyValue(name, f"KV_{name}", f"$KV.{name}.", jetstream, direct=True), name)
    try:
        store = await jetstream.create_key_value(api.KeyValueConfig(bucket=name, history=1, direct=True))
    except _TROUBLES as error:
        raise _away(error) from None
    return Bucket(bus, store, name)


def _away(error: Exception) -> BusError:
    return Unreachable(f"the KV store does not answer: {type(error).__name__}")
