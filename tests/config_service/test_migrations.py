"""Databases of an earlier form, and instances that start at once, on SQLite and PostgreSQL."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy import make_url, text
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from config_service.database import DRIVERS, downgrade
from config_service.keys import Key
from config_service.store import open_store
from schemas.agent import AgentDocument
from schemas.campaign import CampaignDocument
from schemas.config import StoredAgent

FIRST_FORM = """
CREATE TABLE agents (
    id VARCHAR(64) NOT NULL, document JSON NOT NULL, revision INTEGER NOT NULL, updated BIGINT NOT NULL,
    PRIMARY KEY (id)
)"""  # as the version before migrations created it
DESK = {"id": "desk", "greeting": "Grüezi 👋", "turns": {"min_delay_ms": 250}}


@asynccontextmanager
async def connection(database_url: str) -> AsyncIterator[AsyncConnection]:
    """A connection that migrates nothing."""
    url = make_url(database_url)
    engine = create_async_engine(url.set(drivername=DRIVERS[url.drivername]))
    async with engine.begin() as database:
        yield database
    await engine.dispose()


async def agents_of_the_first_form(database_url: str) -> list[tuple[str, object, int]]:
    async with connection(database_url) as database:
        rows = (await database.execute(text("SELECT id, document, revision FROM agents ORDER BY id"))).all()
    return [(row.id, _document(row.document), row.revision) for row in rows]


def _document(stored: object) -> object:
    """SQLite's driver hands JSON over as text."""
    return json.loads(stored) if isinstance(stored, str) else stored


async def first_form(url: str) -> None:
    """Leave the database as the version before migrations did: with a table, and no mark of Alembic."""
    insert = text("INSERT INTO agents VALUES ('desk', :document, 7, 1700000000000000)")
    async with connection(url) as database:
        await database.execute(text(FIRST_FORM))
        await database.execute(insert, {"document": json.dumps(DESK)})


async def test_a_database_from_before_migrations_is_taken_over_with_its_agents(database_url: str) -> None:
    await first_form(database_url)
    async with open_store(database_url) as store:
        assert await store.get("desk") == StoredAgent(DESK, 7)
        (version,) = await store.versions(Key("desk"))
        assert (version.version, version.author, version.saved, version.published) == (
            7,
            "migration",
            1_700_000_000_000_000,
            True,
        )
        changed = AgentDocument.model_validate({**DESK, "greeting": "Hello"})
        assert await store.set([changed], {"desk": 7}) == {"desk": 8}


async def test_going_down_keeps_what_calls_run_on_and_going_up_takes_it_over_again(database_url: str) -> None:
    async with open_store(database_url) as store:
        await store.set([AgentDocument.model_validate(DESK), AgentDocument(id="shop")])
        await store.set([AgentDocument(id="desk", greeting="A draft.")], draft=True)
        await store.set([AgentDocument(id="only-draft")], draft=True)
        await store.set([], campaigns=[CampaignDocument(agent="desk", campaign="summer", overrides={"name": "S"})])
    await downgrade(database_url, "0001")
    assert await agents_of_the_first_form(database_url) == [("desk", DESK, 1), ("shop", {"id": "shop"}, 1)]
    async with open_store(database_url) as store:
        assert await store.get("desk") == StoredAgent(DESK, 1)
        assert await store.ids() == ["desk", "shop"]
    await downgrade(database_url, "base")
    async with open_store(database_url) as store:
        assert await store.ids() == []


async def test_instances_that_start_at_once_migrate_once_with_data(database_url: str) -> None:
    await first_form(database_url)

    async def start() -> StoredAgent | None:
        async with open_store(database_url) as store:
            return await store.get("desk")

    assert await asyncio.gather(*(start() for _ in range(5))) == [StoredAgent(DESK, 7)] * 5
    async with open_store(database_url) as store:
        assert [line.version for line in await store.versions(Key("desk"))] == [7]
