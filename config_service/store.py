"""The truth: agents in one table of a database, SQLite or PostgreSQL."""

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from sqlalchemy import JSON, BigInteger, Column, Integer, MetaData, String, Table, event, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.schema import CreateTable

from config_service import documents
from config_service.documents import BadDocument
from schemas.agent import AgentDocument
from schemas.config import AgentLine, StoredAgent

BUSY_S = 5  # SQLite: how long to wait for another process that writes
CREATE_TRIES = 4
CREATE_AGAIN_S = 0.05
DRIVERS = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+asyncpg", "postgres": "postgresql+asyncpg"}

_METADATA = MetaData()
_AGENTS = Table(
    "agents",
    _METADATA,
    Column("id", String(64), primary_key=True),
    Column("document", JSON, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("updated", BigInteger, nullable=False),  # UTC microseconds, as in facts
)


class StoreAway(Exception):
    """The database does not answer; the message says which and why, without its password."""


class Store:
    """Agents by id. Every call raises StoreAway when the database does not answer."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._insert: Any = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}[engine.dialect.name]

    async def get(self, agent: str) -> StoredAgent | None:
        """None if there is no such agent; raises BadDocument when what is stored is not one any more."""
        async with self._transaction() as database:
            rows = await database.execute(select(_AGENTS).where(_AGENTS.c.id == agent))
            row = rows.one_or_none()
        if row is None:
            return None
        return StoredAgent(documents.plain(_checked(row.id, row.document)), row.revision)

    async def set(self, agents: Sequence[AgentDocument]) -> dict[str, int]:
        """Store all or none; returns their new revisions."""
        revisions = {}
        async with self._transaction() as database:
            for agent in sorted(agents, key=lambda agent: agent.id):  # in one order, so that two writers never deadlock
                new = self._insert(_AGENTS).values(
                    id=agent.id, document=documents.plain(agent), revision=1, updated=time.time_ns() // 1000
                )
                bump = new.on_conflict_do_update(
                    index_elements=["id"],
                    set_={
                        "document": new.excluded.document,
                        "revision": _AGENTS.c.revision + 1,
                        "updated": new.excluded.updated,
                    },
                )
                revisions[agent.id] = (await database.execute(bump.returning(_AGENTS.c.revision))).scalar_one()
        return revisions

    async def page(self, after: str = "", limit: int | None = None) -> list[AgentLine]:
        """In the order of their ids; one that is not valid any more says so in `problem`."""
        query = select(_AGENTS).where(_AGENTS.c.id > after).order_by(_AGENTS.c.id).limit(limit)
        async with self._transaction() as database:
            return [_line(row) for row in await database.execute(query)]

    async def ids(self) -> list[str]:
        async with self._transaction() as database:
            return list((await database.execute(select(_AGENTS.c.id))).scalars())

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[AsyncConnection]:
        with _away(self._engine.url.render_as_string()):
            async with self._engine.begin() as database:
                yield database


@asynccontextmanager
async def open_store(url: str) -> AsyncIterator[Store]:
    """The database at `url` (`sqlite:///file`, `postgresql://user:password@host/name`) with its table made.

    Raises StoreAway.
    """
    engine = _engine(url)
    try:
        with _away(engine.url.render_as_string()):
            await _create(engine)
        yield Store(engine)
    finally:
        await engine.dispose()


async def _create(engine: AsyncEngine) -> None:
    """Instances that start at once stand in each other's way: SQLite's switch of journal does not wait its turn, and
    in PostgreSQL both may find no table."""
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
            raise StoreAway(f"database {parsed.drivername!r} is not known: use sqlite:///FILE or postgresql://...")
        parsed = parsed.set(drivername=DRIVERS.get(parsed.drivername, parsed.drivername))
        if not parsed.drivername.startswith("sqlite"):
            return create_async_engine(parsed, pool_pre_ping=True)  # a server that came back is found alive
        sqlite3.connect(parsed.database or ":memory:").close()  # aiosqlite leaves a thread behind where this fails
        engine = create_async_engine(parsed, connect_args={"timeout": BUSY_S})
    except sqlite3.Error as error:
        raise StoreAway(f"the database {parsed.database} does not answer: {error}") from None
    except (ArgumentError, NoSuchModuleError):
        raise StoreAway("the database URL is not one: use sqlite:///FILE or postgresql://user@host/name") from None
    except ModuleNotFoundError as missing:
        raise StoreAway(f"this database needs {missing.name}: pip install -e '.[postgres]'") from None

    @event.listens_for(engine.sync_engine, "connect")
    def write_ahead(connection: Any, _record: Any) -> None:
        connection.execute("PRAGMA journal_mode=WAL")  # readers go on while another process writes

    return engine


@contextmanager
def _away(url: str) -> Iterator[None]:
    try:
        yield
    except (SQLAlchemyError, OSError, TimeoutError) as error:
        cause = getattr(error, "orig", None) or error
        reason = " ".join(str(cause).split()) or type(cause).__name__
        raise StoreAway(f"the database {url} does not answer: {reason}") from None


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
        return AgentLine(row.id, row.revision, row.updated, problem=str(wrong))
    choices = (agent.stt.provider, agent.llm.provider, agent.tts.provider)
    return AgentLine(row.id, row.revision, row.updated, *choices, facts=len(agent.facts))
