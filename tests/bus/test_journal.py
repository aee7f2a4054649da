"""The journal keeps every fact once and reads them back in order."""

from pathlib import Path

import pytest

from bus import journal, server
from bus.connect import Bus, connect
from bus.errors import Unreachable
from bus.journal import Journal
from schemas import subjects
from schemas.settings import BusSettings
from tests.kit.bus import until

SUBJECT = subjects.event("desk", "s1", "llm.turn_ended")


async def test_a_fact_said_twice_is_kept_once(bus: Bus) -> None:
    await journal.ensure(bus)
    writer = Journal(bus)
    await writer.open()
    for number in (0, 1, 1, 2, 0):
        writer.publish(SUBJECT, b"fact %d" % number, f"s1-llm-1-{number}")
    await until(lambda: writer.kept == 5)  # a repeat is acknowledged too
    assert writer.said == 5
    assert await journal.read(bus, "s1") == [b"fact 0", b"fact 1", b"fact 2"]


async def test_more_facts_than_one_fetch_come_back_whole_in_order_and_of_one_session_only(bus: Bus) -> None:
    await journal.ensure(bus)
    writer = Journal(bus)
    await writer.open()
    facts = [b"%d" % number for number in range(1_200)]
    for number, fact in enumerate(facts):
        writer.publish(SUBJECT, fact, f"s1-llm-1-{number}")
        writer.publish(subjects.event("desk", "s2", "llm.turn_ended"), b"another's", f"s2-llm-1-{number}")
    await until(lambda: writer.kept == 2_400)
    assert await journal.read(bus, "s1") == facts
    assert await journal.read(bus, "s3") == []


async def test_facts_are_heard_live_while_they_are_kept(bus: Bus) -> None:
    await journal.ensure(bus)
    heard: list[bytes] = []
    await bus.subscribe(subjects.events(session="s1"), lambda _subject, data, _reply: heard.append(data))
    writer = Journal(bus)
    await writer.open()
    writer.publish(SUBJECT, b"fact", "s1-llm-1-0")
    await until(lambda: writer.kept == 1)
    assert heard == [b"fact"]


async def test_the_journal_survives_a_restart_of_the_server(tmp_path: Path) -> None:
    async with server.serve(tmp_path) as url, connect(BusSettings(url=url)) as bus:
        await journal.ensure(bus)
        writer = Journal(bus)
        await writer.open()
        writer.publish(SUBJECT, b"fact", "s1-llm-1-0")
        await until(lambda: writer.kept == 1)
    async with server.serve(tmp_path) as url, connect(BusSettings(url=url)) as bus:
        await journal.ensure(bus)
        assert await journal.read(bus, "s1") == [b"fact"]


async def test_without_a_stream_reading_says_so(bus: Bus) -> None:
    await journal.check(bus)
    with pytest.raises(Unreachable, match="the journal does not answer"):
        await journal.read(bus, "s1")
