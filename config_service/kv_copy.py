"""Keep the KV bucket `agents` as a copy of what is published in the database.

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
from config_service.store import Store
from schemas import subjects
from schemas.config import BUCKET, AgentChanged

CATCH_UP_EVERY_S = 1.0  # the cache is right again this soon after JetStream was unavailable

log = structlog.get_logger("config")


class KvCopy:
    """The copy that one instance keeps up to date."""

    def __init__(self, bus: Bus, store: Store) -> None:
        self._bus = bus
        self._store = store
        self._bucket: kv.Bucket | None = None
        self._closing = asyncio.Event()
        self._behind: set[str] = set()  # agents whose cached copy may differ from the database

    def note(self, agents: Iterable[str]) -> None:
        """Copy these agents at the next turn of `keep_up`: their copies may be missing or old."""
        self._behind.update(agents)

    async def announce(self, agents: Iterable[str]) -> None:
        """Copy changed agents, and publish AgentChanged for each of them, also if the cache cannot be written."""
        changed = list(agents)
        self.note(changed)
        with suppress(BusError, StoreUnavailable):  # `keep_up` copies them later
            await self._catch_up(changed)
        for agent in changed:  # also if the copy failed: then other processes ask this service
            self._publish_changed(agent)

    async def keep_up(self) -> None:
        """Copy every agent once, then those whose copy is behind, until `close`."""
        logged = False
        started = False
        while not self._closing.is_set():
            try:
                if not started:
                    self._behind.update(await (await self._cache()).keys(), await self._store.ids())
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
        """End `keep_up` after the agent that it copies now."""
        self._closing.set()

    async def _cache(self) -> kv.Bucket:
        if self._bucket is None:
            self._bucket = await kv.bucket(self._bus, BUCKET, create=True)
        return self._bucket

    async def _catch_up(self, agents: Iterable[str]) -> None:
        for agent in agents:
            if self._closing.is_set():
                return
            self._behind.discard(agent)  # before the read: a change during it adds the agent again
            try:
                changed = await self._copy(await self._cache(), agent)
            except (BusError, StoreUnavailable):
                self._behind.add(agent)
                raise
            if changed:
                self._publish_changed(agent)

    def _publish_changed(self, agent: str) -> None:
        self._bus.publish(subjects.config("changed"), msgspec.json.encode(AgentChanged(agent)))

    async def _copy(self, bucket: kv.Bucket, agent: str) -> bool:
        """Copy an agent from the database to the cache; returns whether the cache changed."""
        while True:
            cached = await bucket.read(agent)
            try:
                stored = await self._store.get(agent)
            except BadDocument as wrong:
                log.error(
                    "stored agent is invalid", agent=agent, cause=str(wrong)
                )  # the last valid copy stays in the cache
                return False
            if stored is None:
                if cached:
                    await bucket.delete(agent)
                return cached is not None
            truth = msgspec.json.encode(stored)
            if cached and cached.value == truth:
                return False
            if await bucket.replace(agent, truth, cached.revision if cached else 0):
                return True
