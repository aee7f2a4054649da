"""Serve agents over NATS from the database, and keep the KV bucket `agents` as a copy of it.

Several instances may run. The instance that stores an agent copies it: it reads the cache, then the database, then
writes the cache if the cache has not changed meanwhile, and otherwise begins again. So the last instance to finish
leaves in the cache what the database holds.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Iterable
from contextlib import asynccontextmanager, suppress
from typing import TypeVar

import msgspec
import structlog

from bus import kv, services
from bus.connect import Bus
from bus.errors import BusError, ServiceError
from bus.message import Message
from config_service import documents
from config_service.documents import BadDocument, StaleRevision
from config_service.store import Store, StoreUnavailable, open_store
from schemas import subjects
from schemas.config import (
    BAD_REQUEST,
    BAD_STORED,
    BUCKET,
    MAX_SET_BYTES,
    PAGE,
    STALE,
    UNAVAILABLE,
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
DATABASE_WITHIN_S = 4.0  # a page of 500 documents is validated in it; below the 5 s that a client waits
CLOSE_WITHIN_S = 2.0  # the copy of one agent ends in it
CATCH_UP_EVERY_S = 1.0  # the cache is right again this soon after JetStream was unavailable

T = TypeVar("T")

log = structlog.get_logger("config")


class Service:
    """One instance of the service: its three endpoints, and the cache that it keeps up to date."""

    def __init__(self, bus: Bus, store: Store) -> None:
        self._bus = bus
        self._store = store
        self._bucket: kv.Bucket | None = None
        self._closing = asyncio.Event()
        self._behind: set[str] = set()  # agents whose cached copy may differ from the database

    async def get(self, message: Message) -> bytes:
        """Answer GetAgent with StoredAgent."""
        agent = _asked(message.data, GetAgent).agent
        stored = await _answered(self._store.get(agent))
        if stored is None and agent == documents.DEFAULT_ID:
            stored = StoredAgent(documents.plain(documents.DEFAULT), 0)
        if stored is None:
            raise ServiceError(UNKNOWN, f"no agent {agent[:64]!r}: `antiphon agent list` shows those there are")
        if stored.revision:
            self._behind.add(agent)  # the client asks here because the cache lacks the agent
        return msgspec.json.encode(stored)

    async def set(self, message: Message) -> bytes:
        """Answer SetAgents with AgentsSet, after every process was sent AgentChanged."""
        if len(message.data) > MAX_SET_BYTES:
            raise ServiceError(BAD_REQUEST, f"{len(message.data)} bytes in one go are more than {MAX_SET_BYTES}")
        asked = _asked(message.data, SetAgents)
        try:
            agents = [documents.parse(document) for document in asked.documents]
        except BadDocument as wrong:
            raise ServiceError(BAD_REQUEST, str(wrong)) from None
        revisions = await _answered(self._store.set(agents, asked.if_revisions))
        log.info("agents set", revisions=revisions)
        self._behind.update(revisions)
        with suppress(BusError, StoreUnavailable):  # `keep_up` copies them later
            await self._catch_up(revisions)
        for agent in revisions:  # also if the copy failed: then other processes ask this service
            self._publish_changed(agent)
        return msgspec.json.encode(AgentsSet(revisions))

    async def page(self, message: Message) -> bytes:
        """Answer ListAgents with AgentPage."""
        lines = await _answered(self._store.page(_asked(message.data, ListAgents).after, PAGE + 1))
        return msgspec.json.encode(AgentPage(lines[:PAGE], more=len(lines) > PAGE))

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


@asynccontextmanager
async def open_service(bus: Bus, database_url: str) -> AsyncIterator[Service]:
    """Run an instance on the database at `database_url`. Raises StoreUnavailable if it cannot be opened."""
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
                service.close()  # not cancelled at once: a cancelled query leaves the driver's thread running
                await asyncio.wait([keeping], timeout=CLOSE_WITHIN_S)
                keeping.cancel()
                with suppress(asyncio.CancelledError):
                    await keeping


def _asked(data: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(data, type=kind)
    except msgspec.MsgspecError as error:
        raise ServiceError(BAD_REQUEST, f"not a request of the config service: {error}") from None


async def _answered(question: Awaitable[T]) -> T:
    try:
        return await asyncio.wait_for(question, DATABASE_WITHIN_S)
    except TimeoutError:
        raise ServiceError(UNAVAILABLE, f"the database does not answer within {DATABASE_WITHIN_S:.0f} s") from None
    except StoreUnavailable as error:
        raise ServiceError(UNAVAILABLE, str(error)) from None
    except StaleRevision as stale:
        raise ServiceError(STALE, str(stale)) from None
    except BadDocument as wrong:
        raise ServiceError(BAD_STORED, str(wrong)) from None
