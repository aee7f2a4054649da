"""A shared cache in JetStream KV. Reads are direct: they need no leader and work while JetStream elects one."""

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
_ERRORS = (nats.errors.Error, JetStreamError, TimeoutError)


class Entry(NamedTuple):
    """A value and its revision, which counts from 1."""

    value: bytes
    revision: int


class Bucket:
    """A map from keys to bytes. Every call raises Unreachable if JetStream does not answer within a second."""

    def __init__(self, bus: Bus, store: KeyValue, name: str) -> None:
        self._bus = bus
        self._store = store
        self._name = name

    async def get(self, key: str) -> bytes | None:
        """Return the value of `key`, None if there is none."""
        entry = await self.read(key)
        return entry.value if entry else None

    async def read(self, key: str) -> Entry | None:
        """Return the value of `key` with its revision, for `replace`; None if there is none."""
        try:
            found = await self._store.get(key)
        except KeyNotFoundError:
            return None
        except _ERRORS as error:
            raise _unreachable(error) from None
        return Entry(found.value or b"", found.revision or 0)

    async def keys(self) -> list[str]:
        """Return every key ever stored, deleted ones included: their deletion marker stays. `read` tells them apart.

        Reads the index of the stream. A watcher is wrong: it reports an empty bucket while a message is under way.
        """
        prefix = f"$KV.{self._name}."
        found: dict[str, None] = {}  # a key stored between two pages shifts the second, which then repeats a key
        offset, total = 0, 1
        while offset < total:
            asked = json.dumps({"subjects_filter": f"{prefix}>", "offset": offset}).encode()
            try:
                answer = await self._bus.client.request(f"$JS.API.STREAM.INFO.KV_{self._name}", asked, WITHIN_S)
                page = json.loads(answer.data)
                if "error" in page:
                    APIError.from_error(page["error"])
            except _ERRORS as error:
                raise _unreachable(error) from None
            subjects = page["state"].get("subjects") or {}
            found.update(dict.fromkeys(subject.removeprefix(prefix) for subject in subjects))
            offset += len(subjects)
            total = page.get("total", 0) if subjects else 0
        return list(found)

    async def replace(self, key: str, value: bytes, last: int) -> bool:
        """Store `value` if `key` is at revision `last` (0: no such key). Return False if another writer was first."""
        try:
            if last:
                await self._store.update(key, value, last)
            else:
                await self._store.create(key, value)
        except KeyWrongLastSequenceError:
            return False
        except _ERRORS as error:
            raise _unreachable(error) from None
        return True

    async def delete(self, key: str) -> None:
        """Mark `key` as deleted."""
        try:
            await self._store.delete(key)
        except _ERRORS as error:
            raise _unreachable(error) from None


async def bucket(bus: Bus, name: str, *, create: bool = False) -> Bucket:
    """Return a bucket (history 1, direct reads). create: create it first; raises Unreachable.

    Without `create` no request is sent: if there is no such bucket, the first read raises Unreachable.
    """
    jetstream = bus.client.jetstream(timeout=WITHIN_S)
    if not create:
        return Bucket(bus, KeyValue(name, f"KV_{name}", f"$KV.{name}.", jetstream, direct=True), name)
    try:
        store = await jetstream.create_key_value(api.KeyValueConfig(bucket=name, history=1, direct=True))
    except _ERRORS as error:
        raise _unreachable(error) from None
    return Bucket(bus, store, name)


def _unreachable(error: Exception) -> BusError:
    return Unreachable(f"cannot reach the KV store: JetStream answered {type(error).__name__}")
