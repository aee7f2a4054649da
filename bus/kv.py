"""A shared cache in JetStream KV. Reads are direct: they need no leader, so they go on while one is elected."""

import nats.errors
from nats.js import api
from nats.js.errors import Error as JetStreamError
from nats.js.errors import KeyNotFoundError
from nats.js.kv import KeyValue

from bus.connect import Bus
from bus.errors import BusError, Unreachable

WITHIN_S = 1.0


class Bucket:
    """Keys and bytes. Every call raises Unreachable when JetStream does not answer within a second."""

    def __init__(self, store: KeyValue) -> None:
        self._store = store

    async def get(self, key: str) -> bytes | None:
        """The value, None if there is none."""
        try:
            return (await self._store.get(key)).value
        except KeyNotFoundError:
            return None
        except (nats.errors.Error, JetStreamError, TimeoutError) as error:
            raise _away(error) from None

    async def put(self, key: str, value: bytes) -> int:
        """Store; returns the revision."""
        try:
            return await self._store.put(key, value)
        except (nats.errors.Error, JetStreamError, TimeoutError) as error:
            raise _away(error) from None

    async def delete(self, key: str) -> None:
        try:
            await self._store.delete(key)
        except (nats.errors.Error, JetStreamError, TimeoutError) as error:
            raise _away(error) from None


async def bucket(bus: Bus, name: str, *, create: bool = False) -> Bucket:
    """Open a bucket (history 1, direct reads); `create` makes it first. Raises Unreachable."""
    jetstream = bus.client.jetstream(timeout=WITHIN_S)
    try:
        if create:
            return Bucket(await jetstream.create_key_value(api.KeyValueConfig(bucket=name, history=1, direct=True)))
        return Bucket(await jetstream.key_value(name))
    except (nats.errors.Error, JetStreamError, TimeoutError) as error:
        raise _away(error) from None


def _away(error: Exception) -> BusError:
    return Unreachable(f"the KV store does not answer: {type(error).__name__}")
