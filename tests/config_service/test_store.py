"""The truth, told on SQLite and on PostgreSQL alike."""

import asyncio
import sqlite3
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import create_async_engine

from config_service.database import DRIVERS, StoreUnavailable
from config_service.documents import BadDocument, StaleRevision, UnknownVersion
from config_service.keys import Key
from config_service.store import open_store
from schemas.agent import AgentDocument
from schemas.campaign import CampaignDocument, PhoneNumber
from schemas.config import NumberLine, StoredAgent


def agent(name: str, **more: object) -> AgentDocument:
    return AgentDocument.model_validate({"id": name, **more})


async def rewrite(database_url: str, statement: str) -> None:
    """Change a stored document past the store, as an earlier version may have left it."""
    url = make_url(database_url)
    engine = create_async_engine(url.set(drivername=DRIVERS[url.drivername]))
    async with engine.begin() as database:
        await database.execute(text(statement))
    await engine.dispose()


async def test_what_is_set_comes_back_and_survives_a_restart(database_url: str) -> None:
    desk = {"id": "desk", "prompt": "Grüß Gott 👋", "facts": [{"text": "open till six", "asks": ["hours"]}]}
    async with open_store(database_url) as store:
        assert await store.get("desk") is None
        assert await store.set([AgentDocument.model_validate(desk)]) == {"desk": 1}
    async with open_store(database_url) as store:
        assert await store.get("desk") == StoredAgent(desk, 1)


async def test_every_set_is_a_new_revision_even_when_many_come_at_once(database_url: str) -> None:
    async with open_store(database_url) as one, open_store(database_url) as other:
        both = [store.set([agent("desk", prompt=str(n))]) for n in range(10) for store in (one, other)]
        revisions = sorted(said["desk"] for said in await asyncio.gather(*both))
        assert revisions == list(range(1, 21))
        stored = await one.get("desk")
    assert stored
    assert stored.revision == 20


async def test_of_writers_that_read_one_revision_only_the_first_stores(database_url: str) -> None:
    async with open_store(database_url) as store:
        with pytest.raises(StaleRevision, match="agent desk is at revision 0, not 1"):
            await store.set([agent("desk")], {"desk": 1})
        for revision in range(3):
            race = [store.set([agent("desk", prompt=str(n))], {"desk": revision}) for n in range(5)]
            results = await asyncio.gather(*race, return_exceptions=True)
            assert [result for result in results if isinstance(result, dict)] == [{"desk": revision + 1}]
            assert sum(isinstance(result, StaleRevision) for result in results) == 4
        with pytest.raises(StaleRevision, match="agent desk is at revision 3, not 0"):
            await store.set([agent("alpha"), agent("desk")], {"desk": 0})
        assert await store.ids() == ["desk"]


async def test_of_many_either_all_are_stored_or_none(database_url: str) -> None:
    async with open_store(database_url) as store:
        unstorable = agent("b", llm={"options": {"voices": {"a set", "is no JSON"}}})
        with pytest.raises(StoreUnavailable):
            await store.set([agent("a"), unstorable])
        assert await store.ids() == []


async def test_two_instances_may_start_at_once(database_url: str) -> None:
    async def start() -> list[str]:
        async with open_store(database_url) as store:
            return await store.ids()

    assert await asyncio.gather(*(start() for _ in range(5))) == [[]] * 5


async def test_pages_follow_each_other(database_url: str) -> None:
    async with open_store(database_url) as store:
        await store.set([agent(name) for name in ("c", "a", "b")])
        first = await store.page("", 2)
        rest = await store.page(first[-1].id, 2)
    assert [line.id for line in first + rest] == ["a", "b", "c"]
    assert {line.revision for line in first} == {1}


async def test_a_stored_document_that_is_not_valid_any_more_is_told_by_id_and_field(database_url: str) -> None:
    async with open_store(database_url) as store:
        await store.set([agent("good"), agent("old")])
        spoil = """UPDATE versions SET document = '{"id": "old", "mood": "grim"}' WHERE agent = 'old'"""
        await rewrite(database_url, spoil)
        with pytest.raises(BadDocument, match="agent old is stored but not valid: mood: Extra inputs"):
            await store.get("old")
        good, old = await store.page()
        assert good.problem == ""
        assert "mood" in old.problem


async def test_a_document_that_an_earlier_version_stored_still_loads(database_url: str) -> None:
    async with open_store(database_url) as store:
        await store.set([agent("old")])
        await rewrite(
            database_url, """UPDATE versions SET document = '{"id": "old", "turns": {"think_ahead": false}}'"""
        )
        stored = await store.get("old")
        assert stored == StoredAgent({"id": "old", "turns": {"preemptive_generation": False}}, 1)


async def test_people_see_the_name_of_an_agent_or_its_id(database_url: str) -> None:
    async with open_store(database_url) as store:
        await store.set([AgentDocument(id="desk", name="Front desk", description="Books."), agent("shop")])
        assert [(line.name, line.description) for line in await store.page()] == [
            ("Front desk", "Books."),
            ("shop", ""),
        ]


async def test_sqlite_lets_readers_go_on_while_somebody_writes(tmp_path: Path) -> None:
    file = tmp_path / "antiphon.db"
    async with open_store(f"sqlite:///{file}") as store:
        await store.set([agent("desk")])
        writer = sqlite3.connect(file, isolation_level=None)
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("DELETE FROM versions")
        stored = await store.get("desk")
        writer.close()
    assert stored
    assert stored.revision == 1


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("sqlite:////proc/nothing/here.db", "unable to open database file"),
        ("postgresql://me:hush@127.0.0.1:1/none", "refused|Connect call failed"),
        ("mysql://host/name", "'mysql' is not known"),
        ("no url", "not one"),
    ],
)
async def test_a_database_that_is_not_there_is_told_in_one_line(url: str, told: str) -> None:
    with pytest.raises(StoreUnavailable, match=told) as away:
        async with open_store(url):
            pass
    assert "hush" not in str(away.value)
    assert "\n" not in str(away.value)


SUMMER = CampaignDocument(agent="desk", campaign="summer", overrides={"greeting": "Hot today!"})


async def test_every_save_is_a_version_and_published_is_a_pointer(database_url: str) -> None:
    desk = Key("desk")
    async with open_store(database_url) as store:
        await store.set([agent("desk", prompt="one")], author="ann")
        await store.set([agent("desk", prompt="two")], author="bob")
        assert await store.set([agent("desk", prompt="three")], author="cid", draft=True) == {"desk": 3}
        assert await store.get("desk") == StoredAgent({"id": "desk", "prompt": "two"}, 2)
        assert await store.get("desk", 3) == StoredAgent({"id": "desk", "prompt": "three"}, 3)
        lines = await store.versions(desk)
        assert [(line.version, line.author, line.published) for line in lines] == [
            (3, "cid", False),
            (2, "bob", True),
            (1, "ann", False),
        ]
        assert lines[0].saved >= lines[1].saved >= lines[2].saved > 0
        assert await store.publish(desk) == 3
        assert await store.publish(desk, 1, if_published=3) == 1  # back
        assert await store.get("desk") == StoredAgent({"id": "desk", "prompt": "one"}, 1)
        with pytest.raises(StaleRevision, match="agent desk is at revision 1, not 3"):
            await store.publish(desk, 2, if_published=3)
        with pytest.raises(UnknownVersion, match="agent desk has no version 9"):
            await store.publish(desk, 9)
        with pytest.raises(UnknownVersion, match="there is no agent shop"):
            await store.publish(Key("shop"))
        assert await store.get("desk") == StoredAgent({"id": "desk", "prompt": "one"}, 1)
        assert await store.set([agent("desk", prompt="four")], {"desk": 1}) == {"desk": 4}
        assert [line.version for line in await store.versions(desk, before=3, limit=1)] == [2]


async def test_a_draft_of_a_new_agent_is_listed_and_answers_no_call(database_url: str) -> None:
    async with open_store(database_url) as store:
        assert await store.set([AgentDocument(id="desk", name="Desk")], {"desk": 0}, draft=True) == {"desk": 1}
        assert await store.get("desk") is None
        assert await store.ids() == []
        assert [(line.id, line.name, line.revision, line.latest) for line in await store.page()] == [
            ("desk", "Desk", 0, 1)
        ]
        with pytest.raises(StaleRevision, match="agent desk is at revision 1, not 0"):
            await store.set([agent("desk")], {"desk": 0})
        with pytest.raises(StaleRevision, match="agent desk is at revision 1, not 2"):
            await store.set([agent("desk")], {"desk": 2}, draft=True)
        assert await store.set([agent("desk")], {"desk": 1}, draft=True) == {"desk": 2}


async def test_a_campaign_has_versions_of_its_own(database_url: str) -> None:
    async with open_store(database_url) as store:
        with pytest.raises(UnknownVersion, match="there is no agent desk: store the agent before its campaign summer"):
            await store.set([], campaigns=[SUMMER])
        assert await store.campaigns() == []
        assert await store.set([agent("desk")], campaigns=[SUMMER]) == {"desk": 1, "desk:summer": 1}
        assert await store.set([], {"desk:summer": 1}, campaigns=[SUMMER], draft=True) == {"desk:summer": 2}
        with pytest.raises(StaleRevision, match="campaign summer of agent desk is at revision 1, not 2"):
            await store.set([], {"desk:summer": 2}, campaigns=[SUMMER])
        assert await store.document(Key("desk", "summer")) == StoredAgent({"greeting": "Hot today!"}, 1)
        assert await store.get("desk") == StoredAgent({"id": "desk"}, 1)
        await store.set([agent("shop")], campaigns=[SUMMER.model_copy(update={"agent": "shop"})])
        assert [(line.agent, line.campaign, line.revision, line.latest) for line in await store.campaigns()] == [
            ("desk", "summer", 1, 2),
            ("shop", "summer", 1, 1),
        ]
        assert [line.agent for line in await store.campaigns("shop")] == ["shop"]
        assert [line.agent for line in await store.campaigns(after=("desk", "summer"), limit=1)] == ["shop"]


async def test_a_published_campaign_that_its_agent_does_not_fit_is_refused_and_nothing_changes(
    database_url: str,
) -> None:
    fits = CampaignDocument(agent="desk", campaign="big", overrides={"llm": {"options": {"o": "x" * 300_000}}})
    async with open_store(database_url) as store:
        await store.set([agent("desk")], campaigns=[fits])
        too_big = agent("desk", tts={"options": {"o": "y" * 300_000}})
        with pytest.raises(BadDocument, match="campaign big of desk: with its overrides: desk: 6"):
            await store.set([too_big])
        assert await store.set([too_big], draft=True) == {"desk": 2}
        with pytest.raises(BadDocument, match="campaign big of desk"):
            await store.publish(Key("desk"))
        assert await store.get("desk") == StoredAgent({"id": "desk"}, 1)


async def test_phone_numbers_name_who_answers(database_url: str) -> None:
    number = PhoneNumber(number="+15551234567", agent="desk", campaign="summer")
    async with open_store(database_url) as store:
        with pytest.raises(UnknownVersion, match=r"cannot set number \+15551234567: there is no campaign summer"):
            await store.set([agent("desk")], numbers=[number])
        assert await store.ids() == []
        await store.set([agent("desk")], campaigns=[SUMMER], numbers=[number])
        assert await store.number("+15551234567") == NumberLine("+15551234567", "desk", "summer")
        await store.set([], numbers=[PhoneNumber(number="+15551234567", agent="desk")])
        assert await store.numbers() == [NumberLine("+15551234567", "desk", "")]
        await store.set([], numbers=[PhoneNumber(number="+15551234567", agent="")])
        assert await store.numbers() == []
        assert await store.number("+15551234567") is None
