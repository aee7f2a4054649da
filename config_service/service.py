"""The config service: NATS requests in front of the database, and the KV bucket `agents` kept as a copy of it.

Several instances may run. Whoever changes an agent copies it: read the cache, then the database, then write the cache
if nobody wrote it meanwhile, else again. So the last one to finish always leaves what the database says.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Iterable
from contextlib import asynccontextmanager, suppress
from typing import TypeVar

import msgspec

from bus import kv, services
from bus.connect import Bus
from bus.errors import BusError, ServiceError
from bus.message import Message
from config_service import documents
from config_service.documents import BadDocument
from config_service.store import Store, StoreAway, open_store
from schemas import subjects
from schemas.config import (
    AWAY,
    BAD_REQUEST,
    BAD_STORED,
    BUCKET,
    MAX_SET_BYTES,
    PAGE,
    UNKNOWN,
    AgentChanged,
    AgentPage,
    AgentsSet,
    GetAgent,
    ListAgents,
    SetAgents,
    StoredAgent,
)

NAME = "config"
DATABASE_WITHIN_S = 4.0  # a list of 1,000 is checked whole; who edits waits for 5 s
CLOSE_WITHIN_S = 2.0
CATCH_UP_EVERY_S = 1.0  # how soon the cache is right again after JetStream was away

T = TypeVar("T")

log = logging.getLogger(__name__)


class Service:
    """One instance: three endpoints and a copy to keep."""

    def __init__(self, bus: Bus, store: Store) -> None:
        self._bus = bus
        self._store = store
        self._bucket: kv.Bucket | None = None
        self._closing = asyncio.Event()
        self._behind: set[str] = set()  # agents whose copy may not be what the database says

    async def get(self, message: Message) -> bytes:
        """GetAgent -> StoredAgent."""
        agent = _asked(message.data, GetAgent).agent
        stored = await _answered(self._store.get(agent))
        if stored is None and agent == documents.DEFAULT_ID:
            stored = StoredAgent(documents.plain(documents.DEFAULT), 0)
        if stored is None:
            raise ServiceError(UNKNOWN, f"no agent {agent[:64]!r}: `antiphon agent list` shows those there are")
        if stored.revision:
            self._behind.add(agent)  # whoever asks here did not find it in the cache
        return msgspec.json.encode(stored)

    async def set(self, message: Message) -> bytes:
        """SetAgents -> AgentsSet."""
        if len(message.data) > MAX_SET_BYTES:
            raise ServiceError(BAD_REQUEST, f"{len(message.data)} bytes in one go are more than {MAX_SET_BYTES}")
        asked = _asked(message.data, SetAgents)
        try:
            agents = [documents.parse(document) for document in asked.documents]
        except BadDocument as wrong:
            raise ServiceError(BAD_REQUEST, str(wrong)) from None
        revisions = await _answered(self._store.set(agents))
        log.info("agents set: %s", ", ".join(f"{agent} at revision {number}" for agent, number in revisions.items()))
        self._behind.update(revisions)
        with suppress(BusError, StoreAway):  # then `keep_up` does it
            await self._catch_up(revisions)
        for agent in revisions:  # also without a copy: then what others remember is asked of us
            self._say_changed(agent)
        return msgspec.json.encode(AgentsSet(revisions))

    async def page(self, message: Message) -> bytes:
        """ListAgents -> AgentPage."""
        lines = await _answered(self._store.page(_asked(message.data, ListAgents).after, PAGE + 1))
        return msgspec.json.encode(AgentPage(lines[:PAGE], more=len(lines) > PAGE))

    async def keep_up(self) -> None:
        """Copy everything once, then whatever is behind, until `close`."""
        told = False
        started = False
        while not self._closing.is_set():
            try:
                if not started:
                    self._behind.update(await (await self._cache()).keys(), await self._store.ids())
                    started = True
                await self._catch_up(list(self._behind))
                told = False
            except (BusError, StoreAway) as away:
                if not told:
                    log.warning("the cache of agents is behind: %s", away)
                told = True
            with suppress(TimeoutError):
                await asyncio.wait_for(self._closing.wait(), CATCH_UP_EVERY_S)

    def close(self) -> None:
        """End `keep_up` after the agent at hand."""
        self._closing.set()

    async def _cache(self) -> kv.Bucket:
        if self._bucket is None:
            self._bucket = await kv.bucket(self._bus, BUCKET, create=True)
        return self._bucket

    async def _catch_up(self, agents: Iterable[str]) -> None:
        for agent in agents:
            if self._closing.is_set():
                return
            self._behind.discard(agent)  # before it is read: a change from here on puts it back
            try:
                changed = await self._copy(await self._cache(), agent)
            except (BusError, StoreAway):
                self._behind.add(agent)
                raise
            if changed:
                self._say_changed(agent)

    def _say_changed(self, agent: str) -> None:
        self._bus.publish(subjects.config("changed"), msgspec.json.encode(AgentChanged(agent)))

    async def _copy(self, bucket: kv.Bucket, agent: str) -> bool:
        """Whether the cache was not what the database says, and now is."""
        while True:
            cached = await bucket.read(agent)
            try:
                stored = await self._store.get(agent)
            except BadDocument as wrong:
                log.error("%s", wrong)  # the last good copy stays
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


@asynccontextmanager
async def open_service(bus: Bus, database_url: str) -> AsyncIterator[Service]:
    """A running instance; raises StoreAway when the database cannot be opened."""
    async with open_store(database_url) as store:
        service = Service(bus, store)
        verbs: dict[str, services.Handler] = {
            "get": service.get,
            "set": service.set,
            "list": service.page,
        }
        endpoints = {verb: (subjects.config(verb), answer) for verb, answer in verbs.items()}
        async with await services.serve(bus, NAME, endpoints):
            await bus.flush()
            keeping = asyncio.create_task(service.keep_up())
            try:
                yield service
            finally:
                service.close()  # not cancelled at once: a query that is cut short leaves the driver's thread behind
                await asyncio.wait([keeping], timeout=CLOSE_WITHIN_S)
                keeping.cancel()
                with suppress(asyncio.CancelledError):
                    await keeping


def _asked(data: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(data, type=kind)
    except msgspec.MsgspecError as error:
        raise ServiceError(BAD_REQUEST, f"not a request that is served here: {error}") from None


async def _answered(question: Awaitable[T]) -> T:
    try:
        return await asyncio.wait_for(question, DATABASE_WITHIN_S)
    except TimeoutError:
        raise ServiceError(AWAY, f"no answer of the database within {DATABASE_WITHIN_S:.0f} s") from None
    except StoreAway as away:
        raise ServiceError(AWAY, str(away)) from None
    except BadDocument as wrong:
        raise ServiceError(BAD_STORED, str(wrong)) from None
