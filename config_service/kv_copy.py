"""Keep the KV bucket `agents` as a copy of what calls run on: every published agent, and every campaign of it.

Several instances may run. An instance copies a document so: it reads the cache, then the database, then writes the
cache if the cache has not changed meanwhile, and otherwise begins again. So the last instance to finish leaves in the
cache what the database holds.
"""

import asyncio
from collections.abc import Iterable
from contextlib import suppress

import msgspec
import structlog

from bus import kv
from bus.connect import Bus
from bus.errors import BusError
from config_service.database import StoreUnavailable
from config_service.documents import BadDocument
from config_service.keys import Key, cache_key, read_cache_key
from config_service.resolver import Resolver
from config_service.store import Store
from schemas import subjects
from schemas.config import BUCKET, AgentChanged

CATCH_UP_EVERY_S = 1.0  # the cache is right again this soon after JetStream was unavailable

log = structlog.get_logger("config")


class KvCopy:
    """The copy that one instance keeps up to date."""

    def __init__(self, bus: Bus, store: Store, resolver: Resolver) -> None:
        self._bus = bus
        self._store = store
        self._resolver = resolver
        self._bucket: kv.Bucket | None = None
        self._closing = asyncio.Event()
        self._behind: set[Key] = set()  # whose cached copy may differ from the database

    def note(self, key: Key) -> None:
        """Copy this agent or campaign at the next turn of `keep_up`: its copy may be missing or old."""
        self._behind.add(key)

    async def announce(self, agents: Iterable[str]) -> None:
        """Copy changed agents with their campaigns, and publish AgentChanged, also if the cache cannot be written."""
        changed = list(agents)
        self._behind.update(Key(agent) for agent in changed)
        with suppress(BusError, StoreUnavailable):  # `keep_up` copies them later
            for agent in changed:
                campaigns = await self._store.campaigns(agent)
                self._behind.update(Key(agent, line.campaign) for line in campaigns)
            await self._catch_up([key for key in self._behind if key.agent in changed])
        for agent in changed:  # also if the copy failed: then other processes ask this service
            self._publish_changed(agent)

    async def keep_up(self) -> None:
        """Copy everything once, then those whose copy is behind, until `close`."""
        logged = False
        started = False
        while not self._closing.is_set():
            try:
                if not started:
                    cached = await (await self._cache()).keys()
                    stored = [Key(agent) for agent in await self._store.ids()]
                    campaigns = [Key(line.agent, line.campaign) for line in await self._store.campaigns()]
                    self._behind.update((read_cache_key(text) for text in cached), stored, campaigns)
                    started = True
                await self._catch_up(list(self._behind))
                logged = False
            except (BusError, StoreUnavailable) as error:
                if not logged:
                    log.warning("the cache of agents is behind", cause=str(error))
                logged = True
            with suppress(TimeoutError):
                await asyncio.wait_for(self._closing.wait(), CATCH_UP_EVERY_S)

    def close(self) -> None:
        """End `keep_up` after the copy that it makes now."""
        self._closing.set()

    async def _cache(self) -> kv.Bucket:
        if self._bucket is None:
            self._bucket = await kv.bucket(self._bus, BUCKET, create=True)
        return self._bucket

    async def _catch_up(self, keys: Iterable[Key]) -> None:
        for key in sorted(keys):
            if self._closing.is_set():
                return
            self._behind.discard(key)  # before the read: a change during it adds the key again
            try:
                changed = await self._copy(await self._cache(), key)
            except (BusError, StoreUnavailable):
                self._behind.add(key)
                raise
            if changed:
                self._publish_changed(key.agent)

    def _publish_changed(self, agent: str) -> None:
        self._bus.publish(subjects.config("changed"), msgspec.json.encode(AgentChanged(agent)))

    async def _copy(self, bucket: kv.Bucket, key: Key) -> bool:
        """Copy what calls run on from the database to the cache; returns whether the cache changed."""
        name = cache_key(key)
        while True:
            cached = await bucket.read(name)
            try:
                resolved = await self._resolver.resolve(key)
            except BadDocument as wrong:  # the last valid copy stays in the cache
                log.error("stored agent is invalid", agent=key.agent, campaign=key.campaign, cause=str(wrong))
                return False
            if resolved is None or not resolved.revision:  # every process has the built-in agent
                if cached:
                    await bucket.delete(name)
                return cached is not None
            truth = msgspec.json.encode(resolved)
            if cached and cached.value == truth:
                return False
            if await bucket.replace(name, truth, cached.revision if cached else 0):
                return True
