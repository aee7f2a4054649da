"""What the journal remembers as a table: every event and turn once, whatever happens between two runs."""

import asyncio
import json
import os
import signal
import stat
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pyarrow import parquet, table

from antiphon_testing.agents import scripted_agent
from antiphon_testing.bus import journaled, server_pid, until
from antiphon_testing.command import antiphon
from antiphon_testing.platform import open_platform
from antiphon_testing.processes import running
from bus import journal
from bus.connect import Bus
from cli import export as command
from cli import parquet as files
from cli.errors import Failed, WrongUse
from cli.export import What, since_when
from cli.rows import EVENTS, TURNS, Row
from schemas import events, subjects
from schemas.events import Event

MANY = 25_000  # two row groups and a half


class Desk:
    """Says events of calls that are written down here, as the stages would."""

    def __init__(self, bus: Bus) -> None:
        self.bus = bus
        self._published = 0
        self._numbers: dict[tuple[str, str], int] = {}

    async def open(self) -> None:
        await journal.ensure(self.bus)

    async def say(self, session: str, *call_events: Event) -> None:
        """Facts of a session, kept when this returns."""
        for event in call_events:
            stage = events.stage(event)
            seq = self._numbers[session, stage] = self._numbers.get((session, stage), -1) + 1
            named = {"session": session, "agent": "desk", "seq": seq, "epoch": 1, "time": time.time_ns() // 1_000}
            said = events.encode(type(event)(**{**_fields(event), **named}))
            self.raw(session, events.tag(event), said, f"{session}-{stage}-1-{seq}")
        await self.kept()

    def raw(self, session: str, tag: str, data: bytes, message_id: str) -> None:
        self._published += 1
        journal.publish(self.bus, subjects.event("desk", session, tag), data, message_id)

    async def kept(self) -> None:
        await journaled(self.bus, self._published)

    async def flood(self, number: int) -> None:
        """So many events of one call."""
        for seq in range(number):
            event = events.SpeechStarted(utterance=seq, start_sample=seq, session="long", agent="desk", seq=seq)
            self.raw("long", "stt.speech_started", events.encode(event), f"long-{seq}")
            if not seq % 1_000:
                await asyncio.sleep(0)
        await self.kept()


def _fields(event: Event) -> dict[str, Any]:
    return {name: getattr(event, name) for name in event.__struct_fields__}


OPENED = events.SessionOpened(owners={}, coordinator="i", transport="null", started_us=1, config={})


def spoken(turn: int) -> list[Event]:
    """A turn from its start to its end."""
    return [
        events.TurnStarted(turn=turn, answers=turn, text=f"question {turn}"),
        events.PlaybackStarted(turn=turn),
        events.PlaybackEnded(turn=turn, heard_ms=700 + turn),
        events.TurnEnded(turn=turn, heard=f"answer {turn}"),
    ]


def heard(utterance: int, text: str) -> list[Event]:
    """What stt publishes of one utterance."""
    return [
        events.SpeechStarted(utterance=utterance, start_sample=utterance * 16_000),
        events.SpeechEnded(utterance=utterance, until_sample=utterance * 16_000 + 8_000),
        events.TranscriptFinal(
            utterance=utterance, text=text, start_sample=utterance * 16_000, until_sample=utterance * 16_000 + 8_000
        ),
    ]


@pytest.fixture
async def desk(bus: Bus) -> Desk:
    made = Desk(bus)
    await made.open()
    return made


@asynccontextmanager
async def half_way(nats: str, folder: Path, target: Path, data: Path) -> AsyncIterator[Any]:
    """An export that waits in its middle, for a server that is frozen until this is left."""
    part = target.with_name(f".{target.name}.part")
    with running(folder, "export", "--to", target, "--nats", nats) as process:
        await until(lambda: part.exists() and part.stat().st_size > 0)
        os.kill(server_pid(data), signal.SIGSTOP)
        try:
            assert process.code is None
            yield process
        finally:
            os.kill(server_pid(data), signal.SIGCONT)


async def run(nats: str, target: Path, **options: Any) -> None:
    """The command, in a thread of this process."""
    await asyncio.to_thread(command.export, target, nats=nats, **options)


def rows(path: Path) -> list[Row]:
    found: list[Row] = parquet.read_table(path).to_pylist()
    return found


def named(folder: Path, like: str = "") -> list[str]:
    """The files in a folder, hidden ones included."""
    return sorted(path.name for path in folder.iterdir() if like in path.name)


def sequences(path: Path) -> list[int]:
    return [row["stream_seq"] for row in rows(path)]


async def test_a_call_is_exported_fact_by_fact_and_turn_by_turn(tmp_path: Path) -> None:
    call_events, turns = tmp_path / "call_events.parquet", tmp_path / "turns.parquet"
    agent = scripted_agent(
        "desk", greeting="Hello.", llm={"replies": ["You said {text}."]}, stt={"texts": ["one", "two"]}
    )
    async with open_platform(tmp_path, [agent]) as home:
        call = await home.simulated_call("desk", turns=2, every_ms=2_500, start_ms=1_500, speech_ms=300)
        await call.until(events.SessionClosed)
        await run(home.nats, call_events, what=What.EVENTS, since="1h")
        await run(home.nats, turns, what=What.TURNS)
        said = call.events
    exported = rows(call_events)
    assert sorted((row["event"], row["seq"]) for row in exported) == sorted((events.tag(f), f.seq) for f in said)
    assert sequences(call_events) == list(range(1, len(said) + 1))
    [final, _] = [row for row in exported if row["event"] == "stt.transcript_final"]
    assert json.loads(final["fields"])["text"] == "one"
    assert {row["session"] for row in exported} == {call.session}
    told = rows(turns)
    assert [(row["turn"], row["caller"], row["heard"], row["interrupted"]) for row in told] == [
        (1, "", "Hello.", False),
        (2, "one", "You said one.", False),
        (3, "two", "You said two.", False),
    ]
    ended = {event.turn: event for event in call.all(events.PlaybackEnded)}
    clock_offset_us = call.all(events.SessionOpened)[0].clock_offset_us["egress"]
    for row in told:
        assert (row["session"], row["agent"]) == (call.session, "desk")
        assert row["heard_ms"] == ended[row["turn"]].heard_ms
        by_ingress = ended[row["turn"]].time - clock_offset_us
        assert row["ended"] == datetime.fromtimestamp(0, UTC) + timedelta(microseconds=by_ingress)
        steps = [row[name] or 0 for name in TURNS if name.endswith("_ms") and name not in ("heard_ms", "total_ms")]
        assert row["total_ms"] == sum(steps) > 0
    assert [row["counted_from"] for row in told] == ["turn started", "end of speech", "end of speech"]


async def test_a_second_run_adds_what_is_new_and_nothing_twice(nats: str, desk: Desk, tmp_path: Path) -> None:
    target = tmp_path / "calls.parquet"
    await desk.say("s1", OPENED, *spoken(1))
    await run(nats, target, json=True)
    first = rows(target)
    await desk.say("s1", *spoken(2))
    for _ in range(2):
        await run(nats, target)
        assert sequences(target) == list(range(1, 10))
    assert rows(target)[:5] == first


async def test_a_turn_that_was_going_on_at_the_last_run_is_told_whole_by_the_next(
    nats: str, desk: Desk, tmp_path: Path
) -> None:
    target = tmp_path / "turns.parquet"
    await desk.say("s1", OPENED, *spoken(1), *spoken(2)[:2])
    await run(nats, target, what=What.TURNS)
    assert [row["turn"] for row in rows(target)] == [1]
    _, _, sound, words = spoken(2)
    await desk.say("s1", words)
    await run(nats, target, what=What.TURNS)  # what was heard is told, how long it was is not
    await desk.say("s1", sound, *spoken(3)[:1], events.SessionClosed(reason="hangup"))
    await run(nats, target, what=What.TURNS)
    told = rows(target)
    assert [(row["turn"], row["caller"], row["heard"], row["heard_ms"]) for row in told] == [
        (1, "question 1", "answer 1", 701),
        (2, "question 2", "answer 2", 702),
        (3, "question 3", None, 0),  # the call closed over it
    ]
    assert told[1]["started"] < told[1]["ended"]


async def test_words_that_no_turn_answered_have_a_row_once_the_call_has_closed(
    nats: str, desk: Desk, tmp_path: Path
) -> None:
    target = tmp_path / "turns.parquet"
    await desk.say("s1", OPENED, *heard(1, "question 1"), *spoken(1), *heard(2, "and one"), *heard(3, "more thing"))
    await run(nats, target, what=What.TURNS)
    assert [row["turn"] for row in rows(target)] == [1]
    await desk.say("s1", events.TextReceived(text="typed", number=1), events.SessionClosed(reason="hangup"))
    await desk.say("s2", OPENED, *heard(1, "question 1"), *spoken(1), events.SessionClosed(reason="hangup"))
    await run(nats, target, what=What.TURNS)
    _, lost, other = rows(target)
    assert (lost["session"], lost["agent"], lost["turn"], lost["answers"]) == ("s1", "desk", None, 3)
    assert (lost["caller"], lost["heard"], lost["started"]) == ("and one more thing typed", None, None)
    assert lost["ended"] is not None
    assert (other["session"], other["turn"]) == ("s2", 1)  # a call without unanswered words has no such row


async def test_an_export_may_begin_at_any_time(nats: str, desk: Desk, tmp_path: Path) -> None:
    await desk.say("s1", OPENED, *spoken(1), *spoken(2)[:2])
    between = datetime.now(UTC).isoformat()
    await desk.say("s1", *spoken(2)[2:])
    call_events, turns = tmp_path / "call_events.parquet", tmp_path / "turns.parquet"
    await run(nats, call_events, since=between)
    await run(nats, turns, since=between, what=What.TURNS)
    assert sequences(call_events) == [8, 9]
    assert [(row["turn"], row["caller"]) for row in rows(turns)] == [(2, "question 2")]


async def test_ctrl_c_half_way_keeps_what_was_read_and_the_next_run_goes_on(
    nats: str, desk: Desk, tmp_path: Path
) -> None:
    target = tmp_path / "calls.parquet"
    await desk.flood(MANY)
    async with half_way(nats, tmp_path / "logs", target, tmp_path) as process:
        assert await process.end(signal.SIGINT) == 130
        assert "run it again to go on" in process.err
    kept = sequences(target)
    assert files.ROWS <= len(kept) < MANY
    assert kept == list(range(1, len(kept) + 1))
    await run(nats, target)
    assert sequences(target) == list(range(1, MANY + 1))


async def test_a_run_that_is_killed_leaves_the_file_as_it_was(nats: str, desk: Desk, tmp_path: Path) -> None:
    target = tmp_path / "calls.parquet"
    await desk.say("s1", OPENED)
    await run(nats, target)
    before = target.read_bytes()
    await desk.flood(MANY)
    async with half_way(nats, tmp_path / "logs", target, tmp_path) as process:
        with pytest.raises(Failed, match="another export is writing it"):
            await run(nats, target)
        process.kill()
        assert target.read_bytes() == before
    await run(nats, target)
    assert sequences(target) == list(range(1, MANY + 2))
    assert named(tmp_path, "calls") == ["calls.parquet"]


async def test_the_groups_of_many_small_runs_are_joined(nats: str, desk: Desk, tmp_path: Path) -> None:
    target = tmp_path / "calls.parquet"
    for turn in range(1, 6):
        await desk.say("s1", *spoken(turn))
        await run(nats, target)
    assert sequences(target) == list(range(1, 21))
    assert parquet.ParquetFile(target).num_row_groups == 2  # the old rows, and the new ones


async def test_what_is_no_fact_is_passed_over_and_a_later_version_is_not(
    nats: str, desk: Desk, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    later = b"\x85\xa5event\xabstt.laughed\xa7session\xa2s1\xa5agent\xa4desk\xa3seq\x07\xa6volume\x09"
    for number, data in enumerate((b"", b"\xc1", b"\x93\x01\x02\x03", b"\x81\xa5event\x05", b"{}", later)):
        desk.raw("s1", "stt.laughed", data, f"rubbish-{number}")
    escaping = events.encode(events.TurnEnded(session="*.>", turn=1, heard=""))
    desk.raw("s1", "llm.turn_ended", escaping, "escaping")
    await desk.kept()
    call_events, turns = tmp_path / "call_events.parquet", tmp_path / "turns.parquet"
    await run(nats, call_events, json=True)
    await run(nats, turns, what=What.TURNS, json=True)
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert told[0] == {
        "to": str(call_events), "what": "facts", "added": 2, "rows": 2, "after": 7, "strange": 5, "gone": 0,
    }  # fmt: skip
    assert (told[1]["added"], told[1]["strange"]) == (0, 7)
    [laughed, _] = rows(call_events)
    assert (laughed["event"], laughed["seq"], json.loads(laughed["fields"])) == ("stt.laughed", 7, {"volume": 9})


async def test_facts_that_the_journal_dropped_meanwhile_are_counted(
    nats: str, desk: Desk, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "calls.parquet"
    await desk.say("s1", *spoken(1))
    await run(nats, target)
    await desk.say("s1", *spoken(2), *spoken(3))
    await desk.bus.client.jetstream().purge_stream(journal.STREAM, seq=7)
    await run(nats, target)
    assert "2 events were dropped from the journal before they were exported" in capsys.readouterr().err
    assert sequences(target) == [1, 2, 3, 4, *range(7, 13)]


async def test_a_file_of_another_journal_is_not_continued(nats: str, desk: Desk, tmp_path: Path) -> None:
    target = tmp_path / "calls.parquet"
    await desk.say("s1", *spoken(1))
    await run(nats, target)
    await desk.bus.client.jetstream().delete_stream(journal.STREAM)
    await journal.ensure(desk.bus)
    with pytest.raises(WrongUse, match="of another journal"):
        await run(nats, target)


async def test_only_its_owner_may_read_the_file_until_others_are_allowed(nats: str, desk: Desk, tmp_path: Path) -> None:
    target = tmp_path / "calls.parquet"
    for mode in (0o600, 0o640):
        await desk.say("s1", *spoken(1))
        await run(nats, target)
        assert stat.S_IMODE(target.stat().st_mode) == (0o600 if mode == 0o600 else mode)
        target.chmod(0o640)


async def test_a_link_stays_a_link(nats: str, desk: Desk, tmp_path: Path) -> None:
    link, target = tmp_path / "link", tmp_path / "calls.parquet"
    link.symlink_to(target)
    for turn in (1, 2):
        await desk.say("s1", *spoken(turn))
        await run(nats, link)
    assert link.is_symlink()
    assert len(rows(target)) == 8


async def test_nothing_to_export_is_said_and_is_no_failure(nats: str, desk: Desk, tmp_path: Path) -> None:
    target = tmp_path / "calls.parquet"
    told = await antiphon("export", "--to", target, "--since", "15m", "--nats", nats)
    assert (told.code, told.err) == (0, "")
    assert told.out.startswith("nothing to export: the journal has no events since ")
    assert named(tmp_path, "calls") == []
    await desk.say("s1", *spoken(1))
    told = await antiphon("export", "--to", target, "--nats", nats)
    assert told.out == f"{target}: 4 events added, 4 in all; it holds what people said\n"
    told = await antiphon("export", "--to", target, "--nats", nats)
    assert told.out == f"nothing to export: {target} holds all events that the journal has\n"


@pytest.mark.parametrize("name", ["calls.csv", "calls.json", "calls.XLSX"])
async def test_a_name_of_another_kind_of_file_is_refused(tmp_path: Path, name: str) -> None:
    told = await antiphon("export", "--to", tmp_path / name, "--nats", "nats://127.0.0.1:1")
    assert (told.code, told.out) == (2, "")
    assert "export writes Parquet" in told.err
    assert str(tmp_path / "calls.parquet") in told.err
    assert named(tmp_path, "calls") == []


async def test_what_goes_wrong_is_one_line(nats: str, tmp_path: Path) -> None:
    told = await antiphon("export", "--to", tmp_path / "a.parquet", "--nats", nats)  # no call was ever made
    assert told.code == 1
    assert told.err.startswith("error: cannot read the journal: this server has no stream CALLS")
    told = await antiphon("export", "--to", tmp_path / "a.parquet", "--nats", "nats://127.0.0.1:1")
    assert told.code == 1
    assert told.err.startswith("error: cannot reach NATS at nats://127.0.0.1:1")
    assert told.err.count("\n") == 1
    assert named(tmp_path, "parquet") == []


async def test_a_target_that_cannot_be_is_refused_before_anything_is_asked(tmp_path: Path) -> None:
    other = tmp_path / "other.parquet"
    parquet.write_table(table({"a": [1]}), other)
    text = tmp_path / "notes.parquet"
    text.write_text("mine")
    targets = {
        tmp_path: "is a folder",
        tmp_path / "nowhere" / "a.parquet": "No such file or directory",
        Path("/proc/a.parquet"): "cannot write",
        Path("/dev/null"): "is not a file",
        other: "is no export of Antiphon",
        text: "is no export of Antiphon",
    }
    for target, complaint in targets.items():
        with pytest.raises(WrongUse, match=complaint):
            command.export(target, nats="nats://127.0.0.1:1")
    assert text.read_text() == "mine"
    assert named(tmp_path) == ["notes.parquet", "other.parquet"]


async def test_a_file_of_facts_takes_no_turns(nats: str, desk: Desk, tmp_path: Path) -> None:
    target = tmp_path / "calls.parquet"
    await desk.say("s1", *spoken(1))
    await run(nats, target)
    with pytest.raises(WrongUse, match=r"holds facts\. Name another file, or set --what facts\."):
        await run(nats, target, what=What.TURNS)


def test_a_full_disk_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    target = tmp_path / "calls.parquet"
    row = {"stream_seq": 1, "kept": 0, "event": "e", "fields": "{}"}
    with files.growing(target, "facts", EVENTS) as file:
        file.continues("j")
        file.add([row], 1)
    before = target.read_bytes()

    def overfill() -> None:
        with files.growing(target, "facts", EVENTS) as file:
            file.continues("j")
            (tmp_path / ".calls.parquet.part").unlink()
            (tmp_path / ".calls.parquet.part").symlink_to("/dev/full")
            file.add([row], 2)

    with pytest.raises(Failed, match=r"cannot write .*The file is unchanged\."):
        overfill()
    assert target.read_bytes() == before


class HalfWay(list[Row]):
    """Rows over which somebody loses patience."""

    def __iter__(self) -> Iterator[Row]:
        yield self[0]
        raise KeyboardInterrupt


def test_rows_that_were_half_added_are_not_kept(tmp_path: Path) -> None:
    target = tmp_path / "calls.parquet"
    row = {"stream_seq": 1, "kept": 0, "event": "e", "fields": "{}"}

    def interrupted() -> None:
        with files.growing(target, "facts", EVENTS) as file:
            file.continues("j")
            file.add([row], 1)
            file.add(HalfWay([row, row]), 3)

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert named(tmp_path) == []


def test_without_pyarrow_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(WrongUse, match=r"pip install -e '\.\[export\]'"):
        command.export(tmp_path / "a.parquet", nats="nats://127.0.0.1:1")


def test_times_are_told_as_a_person_would() -> None:
    now = datetime(2026, 1, 31, 12, tzinfo=UTC)
    assert since_when("90s", now) == datetime(2026, 1, 31, 11, 58, 30, tzinfo=UTC)
    assert since_when("15m", now) == datetime(2026, 1, 31, 11, 45, tzinfo=UTC)
    assert since_when("1h", now) == datetime(2026, 1, 31, 11, tzinfo=UTC)
    assert since_when("2d", now) == datetime(2026, 1, 29, 12, tzinfo=UTC)
    assert since_when("2026-01-31T09:00+01:00", now) == datetime(2026, 1, 31, 8, tzinfo=UTC)
    assert since_when("2026-01-31T09:00", now).tzinfo is UTC
    for wrong in ("", "1", "h", "1w", "-1h", "1.5h", "yesterday", "99999999999d", "2026-13-01"):
        with pytest.raises(WrongUse, match="is no time"):
            since_when(wrong, now)


async def test_its_help_says_that_people_spoke() -> None:
    told = await antiphon("export", "--help")
    assert "It holds what people said" in told.out
