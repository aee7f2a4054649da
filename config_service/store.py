"""Keep agents in one table of a database, SQLite or PostgreSQL: every other copy is made from it."""

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from sqlalchemy import JSON, BigInteger, Column, Integer, MetaData, String, Table, event, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.schema import CreateTable

from config_service import documents
from config_service.documents import BadDocument, StaleRevision
from schemas.agent import AgentDocument
from schemas.config import AgentLine, StoredAgent

BUSY_S = 5  # SQLite: a writer waits so long for another process that writes
CREATE_TRIES = 4  # instances that start together fail at most once each in tests of five
CREATE_AGAIN_S = 0.05  # longer than it takes to create one table
DRIVERS = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+asyncpg", "postgres": "postgresql+asyncpg"}

_METADATA = MetaData()
_AGENTS = Table(
    "agents",
    _METADATA,
    Column("id", String(64), primary_key=True),
    Column("document", JSON, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("updated", BigInteger, nullable=False),  # UTC microseconds, as in events
)


class StoreUnavailable(Exception):
    """The database does not answer; the message names it and the cause, without its password."""


class Store:
    """Agents by id. Every method raises StoreUnavailable when the database does not answer."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._insert: Any = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}[engine.dialect.name]

    async def get(self, agent: str) -> StoredAgent | None:
        """Return the agent, or None if there is none. Raises BadDocument if the stored document is not valid."""
        async with self._transaction() as database:
            rows = await database.execute(select(_AGENTS).where(_AGENTS.c.id == agent))
            row = rows.one_or_none()
        if row is None:
            return None
        return StoredAgent(documents.plain(_checked(row.id, row.document)), row.revision)

    async def set(
        self, agents: Sequence[AgentDocument], if_revisions: Mapping[str, int] | None = None
    ) -> dict[str, int]:
        """Store all agents or none; returns their new revisions.

        if_revisions: id -> the revision that an agent must have, 0 for one that must not be there yet. Raises
        StaleRevision if it has another.
        """
        expected = if_revisions or {}
        async with self._transaction() as database:
            ordered = sorted(agents, key=lambda agent: agent.id)  # in one order, so that two writers never deadlock
            return {agent.id: await self._set(database, agent, expected.get(agent.id)) for agent in ordered}

    async def _set(self, database: AsyncConnection, agent: AgentDocument, if_revision: int | None) -> int:
        values = {"document": documents.plain(agent), "updated": time.time_ns() // 1000}
        bump = {**values, "revision": _AGENTS.c.revision + 1}
        insert = self._insert(_AGENTS).values(id=agent.id, revision=1, **values)
        if if_revision is None:
            statement = insert.on_conflict_do_update(index_elements=["id"], set_=bump)
        elif if_revision == 0:
            statement = insert.on_conflict_do_nothing(index_elements=["id"])
        else:
            at_revision = (_AGENTS.c.id == agent.id) & (_AGENTS.c.revision == if_revision)
            statement = update(_AGENTS).where(at_revision).values(**bump)
        stored = (await database.execute(statement.returning(_AGENTS.c.revision))).scalar_one_or_none()
        if stored is None:
            found = await database.execute(select(_AGENTS.c.revision).where(_AGENTS.c.id == agent.id))
            revision = found.scalar_one_or_none() or 0
            raise StaleRevision(
                f"agent {agent.id} is at revision {revision}, not {if_revision}: it was stored meanwhile"
            )
        return int(stored)

    async def page(self, after: str = "", limit: int | None = None) -> list[AgentLine]:
        """Return agents in the order of their ids; `problem` of a line says why a stored document is not valid."""
        query = select(_AGENTS).where(_AGENTS.c.id > after).order_by(_AGENTS.c.id).limit(limit)
        async with self._transaction() as database:
            return [_line(row) for row in await database.execute(query)]

    async def ids(self) -> list[str]:
        """Return the id of every stored agent."""
        async with self._transaction() as database:
            return list((await database.execute(select(_AGENTS.c.id))).scalars())

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[AsyncConnection]:
        with _unavailable(self._engine.url.render_as_string()):
            async with self._engine.begin() as database:
                yield database


@asynccontextmanager
async def open_store(url: str) -> AsyncIterator[Store]:
    """Open the database at `url`, and create its table if it is not there. Raises StoreUnavailable.

    url: `sqlite:///file` or `postgresql://user:password@host/name`.
    """
    engine = _engine(url)
    try:
        with _unavailable(engine.url.render_as_string()):
            await _create(engine)
        yield Store(engine)
    finally:
        await engine.dispose()


async def _create(engine: AsyncEngine) -> None:
    """Create the table, again after a failure: instances that start together may disturb each other.

    SQLite's switch to the write-ahead log fails where another process holds the database. In PostgreSQL two instances
    may both find no table.
    """
    for tries_left in reversed(range(CREATE_TRIES)):
        try:
            async with engine.begin() as database:
                await database.execute(CreateTable(_AGENTS, if_not_exists=True))
            return
        except SQLAlchemyError:
            if not tries_left:
                raise
            await asyncio.sleep(CREATE_AGAIN_S)


def _engine(url: str) -> AsyncEngine:
    try:
        parsed = make_url(url)
        if parsed.drivername not in {*DRIVERS, *DRIVERS.values()}:
            raise StoreUnavailable(
                f"database {parsed.drivername!r} is not known: use sqlite:///FILE or postgresql://..."
            )
        parsed = parsed.set(drivername=DRIVERS.get(parsed.drivername, parsed.drivername))
        if not parsed.drivername.startswith("sqlite"):
            return create_async_engine(
                parsed, pool_pre_ping=True
            )  # after a restart of the server, dead connections are replaced
        sqlite3.connect(parsed.database or ":memory:").close()  # aiosqlite leaves a thread running where this fails
        engine = create_async_engine(parsed, connect_args={"timeout": BUSY_S})
    except sqlite3.Error as error:
        raise StoreUnavailable(f"the database {parsed.database} does not answer: {error}") from None
    except (ArgumentError, NoSuchModuleError):
        raise StoreUnavailable(
            "the database URL is not one: use sqlite:///FILE or postgresql://user@host/name"
        ) from None
    except ModuleNotFoundError as missing:
        raise StoreUnavailable(f"this database needs {missing.name}: pip install -e '.[postgres]'") from None

    @event.listens_for(engine.sync_engine, "connect")
    def write_ahead(connection: Any, _record: Any) -> None:
        connection.execute("PRAGMA journal_mode=WAL")  # so that readers do not wait for a writer

    return engine


@contextmanager
def _unavailable(url: str) -> Iterator[None]:
    try:
        yield
    except (SQLAlchemyError, OSError, TimeoutError) as error:
        cause = getattr(error, "orig", None) or error
        reason = " ".join(str(cause).split()) or type(cause).__name__
        raise StoreUnavailable(f"the database {url} does not answer: {reason}") from None


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
        agent = _checked(row.id, row.document)
    except BadDocument as wrong:
        return AgentLine(row.id, row.revision, row.updated, problem=str(wrong), name=row.id)
    choices = (agent.stt.names, agent.llm.names, agent.tts.names)
    return AgentLine(
        row.id,
        row.revision,
        row.updated,
        *choices,
        facts=len(agent.facts),
        name=agent.name or agent.id,
        description=agent.description,
    )
