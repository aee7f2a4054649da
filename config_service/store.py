"""Keep agents, campaigns and phone numbers in the database: every other copy is made from it.

Every save is a new version. `published` points to the version that calls run on.
"""

import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy import Select, delete, select, tuple_, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from config_service import campaigns, documents
from config_service.database import open_database, unavailable
from config_service.documents import BadDocument, StaleRevision, UnknownVersion
from config_service.keys import ALONE, Key, key_text
from config_service.tables import CONFIGS, NUMBERS, VERSIONS
from schemas.agent import AgentDocument
from schemas.campaign import CampaignDocument, PhoneNumber
from schemas.config import AgentLine, CampaignLine, NumberLine, StoredAgent, VersionLine

_OF_CONFIG = (VERSIONS.c.agent == CONFIGS.c.agent) & (VERSIONS.c.campaign == CONFIGS.c.campaign)
_PUBLISHED = _OF_CONFIG & (VERSIONS.c.version == CONFIGS.c.published)
_SHOWN = _OF_CONFIG & (  # the published version, or the newest draft of what was never published
    (VERSIONS.c.version == CONFIGS.c.published)
    | ((CONFIGS.c.published == 0) & (VERSIONS.c.version == CONFIGS.c.latest))
)


class Store:
    """Agents, campaigns and numbers. Every method raises StoreUnavailable when the database does not answer."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._insert: Any = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}[engine.dialect.name]

    # --- read ---------------------------------------------------------------------------------------------------------

    async def get(self, agent: str, version: int = 0) -> StoredAgent | None:
        """Return the agent, or None if there is none. Raises BadDocument if the stored document is not valid.

        version: 0 for the published one.
        """
        stored = await self.document(Key(agent), version)
        return stored and StoredAgent(documents.plain(_checked(agent, stored.document)), stored.revision)

    async def document(self, key: Key, version: int = 0) -> StoredAgent | None:
        """Return an agent's or a campaign's document as it is stored, or None. version: 0 for the published one."""
        joined = select(VERSIONS.c.document, VERSIONS.c.version).join_from(CONFIGS, VERSIONS, _OF_CONFIG)
        wanted = VERSIONS.c.version == (version or CONFIGS.c.published)
        async with self._transaction() as database:
            row = (await database.execute(joined.where(_is(CONFIGS, key), wanted))).one_or_none()
        return StoredAgent(row.document, row.version) if row else None

    async def published(self, agent: str) -> dict[str, StoredAgent]:
        """Return the published document of an agent, under "", and the published overrides of each campaign of it."""
        columns = CONFIGS.c.campaign, CONFIGS.c.published, VERSIONS.c.document
        query = select(*columns).join_from(CONFIGS, VERSIONS, _PUBLISHED).where(CONFIGS.c.agent == agent)
        return {row.campaign: StoredAgent(row.document, row.published) for row in await self._rows(query)}

    async def page(self, after: str = "", limit: int | None = None) -> list[AgentLine]:
        """Return agents in the order of their ids; `problem` of a line says why a stored document is not valid."""
        joined = select(CONFIGS, VERSIONS.c.document).join_from(CONFIGS, VERSIONS, _SHOWN)
        query = joined.where(CONFIGS.c.campaign == ALONE, CONFIGS.c.agent > after).order_by(CONFIGS.c.agent)
        return [_line(row) for row in await self._rows(query.limit(limit))]

    async def ids(self) -> list[str]:
        """Return the id of every agent that is published."""
        query = select(CONFIGS.c.agent).where(CONFIGS.c.campaign == ALONE, CONFIGS.c.published > 0)
        return [row.agent for row in await self._rows(query)]

    async def campaigns(
        self, agent: str = "", after: tuple[str, str] = ("", ""), limit: int | None = None
    ) -> list[CampaignLine]:
        """Return campaigns in the order of (agent, campaign). agent: only its own; empty for all."""
        behind = tuple_(CONFIGS.c.agent, CONFIGS.c.campaign) > after
        query = select(CONFIGS).where(CONFIGS.c.campaign != ALONE, behind).limit(limit)
        if agent:
            query = query.where(CONFIGS.c.agent == agent)
        rows = await self._rows(query.order_by(CONFIGS.c.agent, CONFIGS.c.campaign))
        return [CampaignLine(row.agent, row.campaign, row.published, row.latest, row.updated) for row in rows]

    async def versions(self, key: Key, before: int = 0, limit: int | None = None) -> list[VersionLine]:
        """Return saved versions, the newest first. before: only versions below this one; 0 for all."""
        columns = VERSIONS.c.version, VERSIONS.c.author, VERSIONS.c.saved, CONFIGS.c.published
        query = select(*columns).join_from(CONFIGS, VERSIONS, _OF_CONFIG).where(_is(CONFIGS, key))
        if before:
            query = query.where(VERSIONS.c.version < before)
        rows = await self._rows(query.order_by(VERSIONS.c.version.desc()).limit(limit))
        return [VersionLine(row.version, row.author, row.saved, row.version == row.published) for row in rows]

    async def numbers(self, after: str = "", limit: int | None = None) -> list[NumberLine]:
        """Return phone numbers in their order."""
        query = select(NUMBERS).where(NUMBERS.c.number > after).order_by(NUMBERS.c.number).limit(limit)
        return [NumberLine(row.number, row.agent, row.campaign) for row in await self._rows(query)]

    async def number(self, number: str) -> NumberLine | None:
        """Return who answers a phone number, None for an unknown one."""
        rows = await self._rows(select(NUMBERS).where(NUMBERS.c.number == number))
        return NumberLine(rows[0].number, rows[0].agent, rows[0].campaign) if rows else None

    # --- write --------------------------------------------------------------------------------------------------------

    async def set(
        self,
        agents: Sequence[AgentDocument],
        if_revisions: Mapping[str, int] | None = None,
        *,
        campaigns: Sequence[CampaignDocument] = (),
        numbers: Sequence[PhoneNumber] = (),
        author: str = "",
        draft: bool = False,
    ) -> dict[str, int]:
        """Store all or nothing; returns key -> new version. draft: save the versions without publishing them.

        if_revisions: key -> the version that must be published, or be the newest where a draft is saved; 0 for what
        must not be there yet. Raises StaleRevision if it is another, UnknownVersion where a campaign or number names
        no stored agent or campaign, BadDocument where a published campaign makes no valid agent.
        """
        expected = if_revisions or {}
        saves: list[tuple[Key, dict[str, Any]]] = [
            *((Key(agent.id), documents.plain(agent)) for agent in agents),
            *((Key(campaign.agent, campaign.campaign), campaign.overrides) for campaign in campaigns),
        ]
        saves.sort(key=lambda save: save[0])  # in one order, so that two writers never deadlock
        versions: dict[str, int] = {}
        async with self._transaction() as database:
            for key, document in saves:
                head = await self._save(database, key, expected.get(key_text(key)), draft=draft)
                values = {"document": document, "author": author, "saved": _now_us()}
                await database.execute(VERSIONS.insert().values(**key._asdict(), version=head, **values))
                versions[key_text(key)] = head
            for agent in sorted({key.agent for key, _document in saves}):
                await _check_published(database, agent)
            for number in numbers:
                await self._set_number(database, number)
        return versions

    async def publish(self, key: Key, version: int = 0, if_published: int | None = None) -> int:
        """Let calls run on a version, 0 for the newest; returns that version.

        Raises UnknownVersion; StaleRevision if another version than `if_published` is published.
        """
        async with self._transaction() as database:
            move = update(CONFIGS).where(_is(CONFIGS, key)).values(published=version or CONFIGS.c.latest)
            if if_published is not None:
                move = move.where(CONFIGS.c.published == if_published)
            moved = await database.execute(move.values(updated=_now_us()).returning(CONFIGS.c.published))
            published = moved.scalar_one_or_none()
            if published is None:
                head = await _head(database, key)
                if head is None:
                    raise UnknownVersion(f"there is no {_named(key)}")
                raise _stale(key, head.published, if_published or 0)
            saved = select(VERSIONS.c.version).where(_is(VERSIONS, key), VERSIONS.c.version == published)
            if (await database.execute(saved)).one_or_none() is None:
                raise UnknownVersion(f"{_named(key)} has no version {published}: `antiphon agent versions` lists them")
            await _check_published(database, key.agent)
        return int(published)

    async def _save(self, database: AsyncConnection, key: Key, if_revision: int | None, *, draft: bool) -> int:
        """Raise the newest version of `key` by one and return it."""
        first = {"latest": 1, "published": 0 if draft else 1, "updated": _now_us()}
        following: dict[str, Any] = {"latest": CONFIGS.c.latest + 1, "updated": first["updated"]}
        if not draft:
            following["published"] = CONFIGS.c.latest + 1
        insert = self._insert(CONFIGS).values(**key._asdict(), **first)
        if if_revision is None:
            statement = insert.on_conflict_do_update(index_elements=["agent", "campaign"], set_=following)
        elif if_revision == 0:
            statement = insert.on_conflict_do_nothing(index_elements=["agent", "campaign"])
        else:
            read = CONFIGS.c.latest if draft else CONFIGS.c.published
            statement = update(CONFIGS).where(_is(CONFIGS, key), read == if_revision).values(**following)
        latest = (await database.execute(statement.returning(CONFIGS.c.latest))).scalar_one_or_none()
        if latest is None:
            head = await _head(database, key)
            found = 0 if head is None else head.latest if draft or not head.published else head.published
            raise _stale(key, found, if_revision or 0)
        if key.campaign and await _head(database, Key(key.agent)) is None:
            raise UnknownVersion(f"there is no agent {key.agent}: store the agent before its campaign {key.campaign}")
        return int(latest)

    async def _set_number(self, database: AsyncConnection, number: PhoneNumber) -> None:
        if not number.agent:
            await database.execute(delete(NUMBERS).where(NUMBERS.c.number == number.number))
            return
        key = Key(number.agent, number.campaign)
        insert = self._insert(NUMBERS).values(number=number.number, **key._asdict())
        if await _head(database, key) is None:
            raise UnknownVersion(f"cannot set number {number.number}: there is no {_named(key)}")
        await database.execute(insert.on_conflict_do_update(index_elements=["number"], set_=key._asdict()))

    async def _rows(self, query: Select[Any]) -> Sequence[Any]:
        async with self._transaction() as database:
            rows: Sequence[Any] = (await database.execute(query)).all()
        return rows

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[AsyncConnection]:
        with unavailable(self._engine):
            async with self._engine.begin() as database:
                yield database


@asynccontextmanager
async def open_store(url: str) -> AsyncIterator[Store]:
    """Open the database at `url`, and bring its tables up to date. Raises StoreUnavailable."""
    async with open_database(url) as engine:
        yield Store(engine)


async def _check_published(database: AsyncConnection, agent: str) -> None:
    """Raise BadDocument if a published campaign and its published agent make no valid agent."""
    joined = select(CONFIGS.c.campaign, VERSIONS.c.document).join_from(CONFIGS, VERSIONS, _PUBLISHED)
    rows = await database.execute(joined.where(CONFIGS.c.agent == agent))
    published: dict[str, Any] = {row.campaign: row.document for row in rows}
    document = published.pop(ALONE, None)
    if document is not None and published:
        checked = documents.plain(_checked(agent, document))
        for campaign, overrides in published.items():
            campaigns.apply(checked, campaign, overrides)


async def _head(database: AsyncConnection, key: Key) -> Any:
    return (await database.execute(select(CONFIGS).where(_is(CONFIGS, key)))).one_or_none()


def _is(table: Any, key: Key) -> Any:
    return (table.c.agent == key.agent) & (table.c.campaign == key.campaign)


def _stale(key: Key, found: int, read: int) -> StaleRevision:
    return StaleRevision(f"{_named(key)} is at revision {found}, not {read}: it was stored meanwhile")


def _named(key: Key) -> str:
    return f"campaign {key.campaign} of agent {key.agent}" if key.campaign else f"agent {key.agent}"


def _now_us() -> int:
    return time.time_ns() // 1000


def _checked(agent: str, document: Any) -> AgentDocument:
    try:
        found = documents.parse(document)
    except BadDocument as wrong:
        raise BadDocument(f"agent {agent} is stored but not valid: {wrong}: set it again") from None
    if found.id != agent:
        raise BadDocument(f"agent {agent} is stored but not valid: id: its document says {found.id}: set it again")
    return found


def _line(row: Any) -> AgentLine:
    try:
        agent = _checked(row.agent, row.document)
    except BadDocument as wrong:
        return AgentLine(row.agent, row.published, row.updated, problem=str(wrong), name=row.agent, latest=row.latest)
    choices = (agent.stt.names, agent.llm.names, agent.tts.names)
    return AgentLine(
        row.agent,
        row.published,
        row.updated,
        *choices,
        facts=len(agent.facts),
        name=agent.name or agent.id,
        description=agent.description,
        latest=row.latest,
    )
