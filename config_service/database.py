"""Open the database, SQLite or PostgreSQL, and bring its tables up to date. Every error is one line without a password.

Instances that start at once migrate once: each takes the lock of the database first, and the later ones find the work
done. PostgreSQL has an advisory lock for that, SQLite its only write lock.
"""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, event, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

BUSY_S = 5  # SQLite: a writer waits so long for another process that writes
OPEN_TRIES = 4  # instances that start together fail at most once each in tests of five
OPEN_AGAIN_S = 0.05  # SQLite's switch to the write-ahead log takes less
MIGRATION_LOCK = 0x616E7469  # "anti": no other program on the same PostgreSQL database takes this number
NEWEST = "head"  # Alembic's name of the newest form
DRIVERS = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+asyncpg", "postgres": "postgresql+asyncpg"}


Migrate = Callable[[Config, str], None]


class StoreUnavailable(Exception):
    """The database does not answer; the message names it and the cause, without its password."""


@asynccontextmanager
async def open_database(url: str) -> AsyncIterator[AsyncEngine]:
    """Open the database at `url`, and bring its tables up to date. Raises StoreUnavailable.

    url: `sqlite:///file` or `postgresql://user:password@host/name`.
    """
    engine = _engine(url)
    try:
        with unavailable(engine):
            await _migrate_again(engine, command.upgrade, NEWEST)
        yield engine
    finally:
        await engine.dispose()


async def downgrade(url: str, revision: str) -> None:
    """Give the tables an earlier form, for an earlier release; what that form has no place for is lost.

    revision: of a file in `migrations/versions`. Stop every instance first. Raises StoreUnavailable.
    """
    engine = _engine(url)
    try:
        with unavailable(engine):
            await _migrate_again(engine, command.downgrade, revision)
    finally:
        await engine.dispose()


@contextmanager
def unavailable(engine: AsyncEngine) -> Iterator[None]:
    """Raise StoreUnavailable where the database, its driver or the network fails."""
    try:
        yield
    except (SQLAlchemyError, OSError, TimeoutError) as error:
        cause = getattr(error, "orig", None) or error
        reason = " ".join(str(cause).split()) or type(cause).__name__
        raise StoreUnavailable(f"the database {engine.url.render_as_string()} does not answer: {reason}") from None


async def _migrate_again(engine: AsyncEngine, migrate: Migrate, revision: str) -> None:
    """Migrate, again after a failure: SQLite's switch to the write-ahead log fails while another process writes."""
    for tries_left in reversed(range(OPEN_TRIES)):
        try:
            async with engine.begin() as database:
                await database.run_sync(_migrate, migrate, revision)
            return
        except SQLAlchemyError:
            if not tries_left:
                raise
            await asyncio.sleep(OPEN_AGAIN_S)


def _migrate(database: Connection, migrate: Migrate, revision: str) -> None:
    sqlite = database.dialect.name == "sqlite"
    database.exec_driver_sql("BEGIN IMMEDIATE" if sqlite else f"SELECT pg_advisory_xact_lock({MIGRATION_LOCK})")
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = database
    migrate(config, revision)


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
        connection.execute("PRAGMA foreign_keys=ON")

    return engine
