"""The journal keeps every event once and reads them back in order."""

from contextlib import aclosing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from antiphon_testing.bus import journaled
from bus import journal, server
from bus.connect import Bus, connect
from bus.errors import Unreachable
from bus.settings import BusSettings
from schemas import subjects

SUBJECT = subjects.event("desk", "s1", "llm.turn_ended")


async def test_a_fact_said_twice_is_kept_once(bus: Bus) -> None:
    await journal.ensure(bus)
    for number in (0, 1, 1, 2, 0):
        journal.publish(bus, SUBJECT, b"event %d" % number, f"s1-llm-1-{number}")
    journal.publish(bus, SUBJECT, b"the end", "s1-llm-1-3")  # once it is kept, every repeat before it was dropped
    await journaled(bus, 4)
    assert await journal.read(bus, "s1") == [b"event 0", b"event 1", b"event 2", b"the end"]


async def test_more_facts_than_one_fetch_come_back_whole_in_order_and_of_one_session_only(bus: Bus) -> None:
    await journal.ensure(bus)
    events = [b"%d" % number for number in range(1_200)]
    for number, event in enumerate(events):
        journal.publish(bus, SUBJECT, event, f"s1-llm-1-{number}")
        journal.publish(bus, subjects.event("desk", "s2", "llm.turn_ended"), b"another's", f"s2-llm-1-{number}")
    await journaled(bus, 2_400)
    assert await journal.read(bus, "s1") == events
    assert await journal.read(bus, "s3") == []


async def test_facts_are_heard_live_while_they_are_kept(bus: Bus) -> None:
    await journal.ensure(bus)
    heard: list[bytes] = []
    await bus.subscribe(subjects.events(session="s1"), lambda message: heard.append(message.data))
    journal.publish(bus, SUBJECT, b"event", "s1-llm-1-0")
    await journaled(bus, 1)
    assert heard == [b"event"]


async def test_the_journal_survives_a_restart_of_the_server(tmp_path: Path) -> None:
    async with server.serve(tmp_path) as url, connect(BusSettings(url=url)) as bus:
        await journal.ensure(bus)
        journal.publish(bus, SUBJECT, b"event", "s1-llm-1-0")
        await journaled(bus, 1)
    async with server.serve(tmp_path) as url, connect(BusSettings(url=url)) as bus:
        await journal.ensure(bus)
        assert await journal.read(bus, "s1") == [b"event"]


async def test_without_a_stream_reading_says_so(bus: Bus) -> None:
    await journal.check(bus)
    with pytest.raises(Unreachable, match="cannot reach the journal"):
        await journal.read(bus, "s1")
    with pytest.raises(Unreachable, match="cannot read the journal: this server has no stream CALLS"):
        await journal.extent(bus)


async def said(bus: Bus, number: int, session: str = "s1") -> None:
    """So many events of a session, kept."""
    before = (await journal.extent(bus)).last
    for count in range(number):
        journal.publish(
            bus, subjects.event("desk", session, "llm.turn_ended"), b"%d" % count, f"{session}-llm-1-{count}"
        )
    await journaled(bus, before + number)


async def test_the_journal_is_read_on_from_any_sequence_in_bounded_batches(bus: Bus) -> None:
    await journal.ensure(bus)
    await said(bus, 1_200)
    there = await journal.extent(bus)
    assert (there.first, there.last) == (1, 1_200)
    batches = [batch async for batch in journal.batches(bus, subjects.events(), after=100, until=1_150)]
    assert [kept.sequence for batch in batches for kept in batch] == list(range(101, 1_151))
    assert [kept.data for batch in batches for kept in batch] == [b"%d" % number for number in range(100, 1_150)]
    assert max(len(batch) for batch in batches) <= journal.FETCH
    assert [batch async for batch in journal.batches(bus, subjects.events(), after=1_200)] == []


async def test_the_journal_is_read_on_from_a_time(bus: Bus) -> None:
    await journal.ensure(bus)
    await said(bus, 3, "before")
    between = datetime.now(UTC)
    await said(bus, 3, "later")
    [batch] = [batch async for batch in journal.batches(bus, subjects.events(), since=between)]
    assert [kept.sequence for kept in batch] == [4, 5, 6]
    assert all(kept.at >= between.timestamp() * 1_000_000 for kept in batch)


async def test_reading_ends_while_calls_go_on_and_leaves_no_reader_behind(bus: Bus) -> None:
    await journal.ensure(bus)
    await said(bus, 600)
    sequences = []
    async for batch in journal.batches(bus, subjects.events()):
        sequences += [kept.sequence for kept in batch]
        await said(bus, 300, f"during-{len(sequences)}")
    assert sequences == list(range(1, 601))
    async with aclosing(journal.batches(bus, subjects.events())) as reading:
        async for _ in reading:
            break
    assert await bus.client.jetstream().consumers_info(journal.STREAM) == []
