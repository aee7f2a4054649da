"""Serve agents, campaigns and phone numbers over NATS from the database. Several instances may run."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Mapping
from contextlib import asynccontextmanager, suppress
from types import MappingProxyType
from typing import Any, TypeVar

import msgspec
import structlog

from bus import services
from bus.connect import Bus
from bus.errors import ServiceError
from bus.message import Message
from config_service import documents
from config_service.campaigns import parse_campaign, parse_number
from config_service.database import StoreUnavailable
from config_service.documents import BadDocument, StaleRevision, UnknownVersion
from config_service.keys import Key, key_text, read_key
from config_service.kv_copy import KvCopy
from config_service.resolver import Resolver
from config_service.store import Store, open_store
from schemas import subjects
from schemas.config import (
    BAD_REQUEST,
    BAD_STORED,
    MAX_AUTHOR,
    MAX_SET_BYTES,
    PAGE,
    STALE,
    UNAVAILABLE,
    UNKNOWN,
    AgentPage,
    AgentsSet,
    CampaignPage,
    Explained,
    ExplainRuntime,
    GetAgent,
    GetRuntime,
    ListAgents,
    ListCampaigns,
    ListNumbers,
    ListVersions,
    NumberPage,
    PublishVersion,
    SetAgents,
    StoredAgent,
    VersionPage,
)

NAME = "config"
DATABASE_WITHIN_S = 4.0  # a page of 500 documents is validated in it; below the 5 s that a client waits
CLOSE_WITHIN_S = 2.0  # the copy of one agent ends in it

T = TypeVar("T")

log = structlog.get_logger("config")


class Service:
    """The endpoints of one instance of the service."""

    def __init__(self, store: Store, resolver: Resolver, copy: KvCopy) -> None:
        self._store = store
        self._resolver = resolver
        self._copy = copy

    def verbs(self) -> dict[str, services.Handler]:
        """Return verb -> handler."""
        return {
            "get": self._get,
            "runtime": self._runtime,
            "explain": self._explain,
            "set": self._set,
            "list": self._page,
            "publish": self._publish,
            "versions": self._versions,
            "campaigns": self._campaigns,
            "numbers": self._numbers,
        }

    async def _get(self, message: Message) -> bytes:
        """Answer GetAgent with StoredAgent."""
        asked = _asked(message.data, GetAgent)
        if asked.campaign:
            return msgspec.json.encode(await self._campaign(asked))
        stored = await _answered(self._store.get(asked.agent, asked.version))
        if stored is None and asked.agent == documents.DEFAULT_ID and not asked.version:
            stored = StoredAgent(documents.plain(documents.DEFAULT), 0)
        if stored is None:
            missing = f"no version {asked.version} of" if asked.version else "no"
            name = f"{missing} agent {asked.agent[:64]!r}"
            raise ServiceError(UNKNOWN, f"{name}: `antiphon agent list` shows those there are")
        return msgspec.json.encode(stored)

    async def _runtime(self, message: Message) -> bytes:
        """Answer GetRuntime with RuntimeConfig."""
        asked = _asked(message.data, GetRuntime)
        key = Key(asked.agent, asked.campaign)
        resolved = await _answered(self._resolver.resolve(key))
        if resolved is None:
            raise _unknown(key)
        if resolved.revision:
            self._copy.note(key)  # the client asks here because the cache lacks the agent
        return msgspec.json.encode(resolved)

    async def _explain(self, message: Message) -> bytes:
        """Answer ExplainRuntime with Explained."""
        asked = _asked(message.data, ExplainRuntime)
        key = Key(asked.agent, asked.campaign)
        found = await _answered(self._resolver.find(key))
        if found is None:
            raise _unknown(key)
        return msgspec.json.encode(Explained(found.layers.explained()))

    async def _campaign(self, asked: GetAgent) -> StoredAgent:
        stored = await _answered(self._store.document(Key(asked.agent, asked.campaign), asked.version))
        if stored is None:
            raise _unknown(Key(asked.agent, asked.campaign))
        return stored

    async def _set(self, message: Message) -> bytes:
        """Answer SetAgents with AgentsSet, after every process was sent AgentChanged."""
        if len(message.data) > MAX_SET_BYTES:
            raise ServiceError(BAD_REQUEST, f"{len(message.data)} bytes in one go are more than {MAX_SET_BYTES}")
        asked = _asked(message.data, SetAgents)
        try:
            agents = [documents.parse(document) for document in asked.documents]
            campaigns = [parse_campaign(document) for document in asked.campaigns]
            numbers = [parse_number(document) for document in asked.numbers]
        except BadDocument as wrong:
            raise ServiceError(BAD_REQUEST, str(wrong)) from None
        author = " ".join(asked.author.split())[:MAX_AUTHOR]
        storing = self._store.set(
            agents, asked.if_revisions, campaigns=campaigns, numbers=numbers, author=author, draft=asked.draft
        )
        revisions = await _answered(storing, bad_document=BAD_REQUEST)
        log.info("agents set", revisions=revisions, author=author, draft=asked.draft)
        if not asked.draft:
            await self._copy.announce({read_key(key).agent for key in revisions})
        return msgspec.json.encode(AgentsSet(revisions))

    async def _publish(self, message: Message) -> bytes:
        """Answer PublishVersion with AgentsSet, after every process was sent AgentChanged."""
        asked = _asked(message.data, PublishVersion)
        key = Key(asked.agent, asked.campaign)
        moving = self._store.publish(key, asked.version, asked.if_published)
        published = await _answered(moving, bad_document=BAD_REQUEST)
        log.info("version published", agent=key.agent, campaign=key.campaign, version=published)
        await self._copy.announce([key.agent])
        return msgspec.json.encode(AgentsSet({key_text(key): published}))

    async def _page(self, message: Message) -> bytes:
        """Answer ListAgents with AgentPage."""
        lines = await _answered(self._store.page(_asked(message.data, ListAgents).after, PAGE + 1))
        return msgspec.json.encode(AgentPage(lines[:PAGE], more=len(lines) > PAGE))

    async def _versions(self, message: Message) -> bytes:
        """Answer ListVersions with VersionPage."""
        asked = _asked(message.data, ListVersions)
        lines = await _answered(self._store.versions(Key(asked.agent, asked.campaign), asked.before, PAGE + 1))
        if not lines and not asked.before:
            raise ServiceError(UNKNOWN, f"no versions of {key_text(Key(asked.agent, asked.campaign))[:129]!r}")
        return msgspec.json.encode(VersionPage(lines[:PAGE], more=len(lines) > PAGE))

    async def _campaigns(self, message: Message) -> bytes:
        """Answer ListCampaigns with CampaignPage."""
        asked = _asked(message.data, ListCampaigns)
        lines = await _answered(self._store.campaigns(asked.agent, asked.after, PAGE + 1))
        return msgspec.json.encode(CampaignPage(lines[:PAGE], more=len(lines) > PAGE))

    async def _numbers(self, message: Message) -> bytes:
        """Answer ListNumbers with NumberPage."""
        lines = await _answered(self._store.numbers(_asked(message.data, ListNumbers).after, PAGE + 1))
        return msgspec.json.encode(NumberPage(lines[:PAGE], more=len(lines) > PAGE))


@asynccontextmanager
async def open_service(
    bus: Bus, database_url: str, environment: Mapping[str, Any] = MappingProxyType({})
) -> AsyncIterator[Service]:
    """Run an instance on the database at `database_url`. Raises StoreUnavailable if it cannot be opened.

    environment: the layer of `layers.read_environment`, below every agent.
    """
    async with open_store(database_url) as store:
        resolver = Resolver(store, environment)
        copy = KvCopy(bus, store, resolver)
        service = Service(store, resolver, copy)
        endpoints = {verb: (subjects.config(verb), answer) for verb, answer in service.verbs().items()}
        async with await services.serve(bus, NAME, endpoints):
            await bus.flush()
            keeping = asyncio.create_task(copy.keep_up())
            try:
                yield service
            finally:
                copy.close()  # not cancelled at once: a cancelled query leaves the driver's thread running
                await asyncio.wait([keeping], timeout=CLOSE_WITHIN_S)
                keeping.cancel()
                with suppress(asyncio.CancelledError):
                    await keeping


def _asked(data: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(data, type=kind)
    except msgspec.MsgspecError as error:
        raise ServiceError(BAD_REQUEST, f"not a request of the config service: {error}") from None


def _unknown(key: Key) -> ServiceError:
    name = f"agent {key.agent[:64]!r}"
    if key.campaign:
        shown = "`antiphon campaign list` shows those there are"
        return ServiceError(UNKNOWN, f"no campaign {key.campaign[:64]!r} of {name}: {shown}")
    return ServiceError(UNKNOWN, f"no {name}: `antiphon agent list` shows those there are")


async def _answered(question: Awaitable[T], bad_document: str = BAD_STORED) -> T:
    try:
        return await asyncio.wait_for(question, DATABASE_WITHIN_S)
    except TimeoutError:
        raise ServiceError(UNAVAILABLE, f"the database does not answer within {DATABASE_WITHIN_S:.0f} s") from None
    except StoreUnavailable as error:
        raise ServiceError(UNAVAILABLE, str(error)) from None
    except UnknownVersion as unknown:
        raise ServiceError(UNKNOWN, str(unknown)) from None
    except StaleRevision as stale:
        raise ServiceError(STALE, str(stale)) from None
    except BadDocument as wrong:
        raise ServiceError(bad_document, str(wrong)) from None
