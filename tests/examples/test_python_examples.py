"""The Python examples do what their first lines promise, run as the person runs them who copies them."""

import ast
import asyncio
import importlib.util
import json
import os
import re
import signal
import sys
import wave
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from nats import connect as nats_client

from antiphon_testing.agents import scripted_agent
from antiphon_testing.platform import open_platform
from bus import journal
from bus.connect import Bus, connect
from bus.errors import NoAnswer, NoResponders
from bus.settings import BusSettings
from schemas import events, subjects
from schemas.events import Event
from tests.bus.test_security import guarded

EXAMPLES = Path(__file__).parents[2] / "examples"
WITHIN_S = 30.0
UNHEARD_WITHIN_S = 0.5  # that nobody listens is told in a millisecond, by a busy machine later

OPENED = events.SessionOpened(
    session="s", agent="desk", owners={}, coordinator="i", transport="null", started_us=1_000_000, config={}
)


@asynccontextmanager
async def example(name: str, *arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """An example as a process of its own, gone at the end."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, EXAMPLES / name, *arguments,
        env={**os.environ, "PYTHONPATH": str(EXAMPLES.parent), "NO_COLOR": "1", "COLUMNS": "200"},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def next_line(process: asyncio.subprocess.Process) -> str:
    assert process.stdout is not None
    return (await asyncio.wait_for(process.stdout.readline(), WITHIN_S)).decode()


async def ended(process: asyncio.subprocess.Process) -> str:
    """What it prints after Ctrl-C, of which it does not complain."""
    process.send_signal(signal.SIGINT)
    out, err = await asyncio.wait_for(process.communicate(), WITHIN_S)
    assert err == b""
    return out.decode()


async def heard_by_somebody(bus: Bus, event: Event) -> None:
    """Say an event until an example hears it: asked for an answer, the server tells when nobody listens yet."""
    async with asyncio.timeout(WITHIN_S):
        while True:
            subject = subjects.event(event.agent, event.session, events.tag(event))
            try:
                await bus.request(subject, events.encode(event), UNHEARD_WITHIN_S)
            except NoResponders:
                await asyncio.sleep(0.05)
            except NoAnswer:
                return


async def test_transcripts_prints_what_callers_of_every_agent_say(nats: str, bus: Bus) -> None:
    knock = events.TranscriptFinal(
        session="knock", agent="door", utterance=0, text="knock", start_sample=0, until_sample=1
    )
    async with example("transcripts.py", nats) as process:
        await heard_by_somebody(bus, knock)
        assert await next_line(process) == "door knock 0 knock\n"
        words = ["Good morning.", "", "Straße, naïve, 東京"]
        for number, text in enumerate(words):
            event = events.TranscriptFinal(
                session="s1", agent="desk", utterance=number, text=text, start_sample=0, until_sample=1
            )
            bus.publish(subjects.event("desk", "s1", events.tag(event)), events.encode(event))
        other = events.SpeechStarted(session="s1", agent="desk", utterance=3, start_sample=1)
        bus.publish(subjects.event("desk", "s1", events.tag(other)), events.encode(other))
        heard = [await next_line(process) for _ in range(2)]
        assert heard == ["desk s1 0 Good morning.\n", "desk s1 2 Straße, naïve, 東京\n"]
        assert await ended(process) == ""


async def test_a_user_with_the_permissions_of_the_page_may_listen_or_export_and_no_more(tmp_path: Path) -> None:
    page = (EXAMPLES.parent / "docs" / "analytics.md").read_text(encoding="utf-8")
    [shown] = re.findall(r"```json\n(.*?)```", page, re.DOTALL)
    users = [*json.loads(shown)["users"], {"user": "worker", "password": "all"}]
    store = {"store_dir": str(tmp_path / "jetstream")}
    final = events.TranscriptFinal(
        session="s1", agent="desk", utterance=0, text="Good morning.", start_sample=0, until_sample=1
    )
    async with guarded(tmp_path, authorization={"users": users}, jetstream=store) as where:
        async with (
            connect(BusSettings(url=f"nats://worker:all@{where}")) as bus,
            example("transcripts.py", f"nats://analytics:$ANALYTICS@{where}") as listener,
        ):
            await heard_by_somebody(bus, final)
            assert await next_line(listener) == "desk s1 0 Good morning.\n"
            await journal.ensure(bus)
            await bus.request(subjects.event("desk", "s1", events.tag(final)), events.encode(final), 5)
        async with connect(BusSettings(url=f"nats://exporter:$EXPORTER@{where}")) as bus:
            assert (await journal.extent(bus)).last == 1
            [[kept]] = [batch async for batch in journal.batches(bus, subjects.events())]
            assert events.decode(kept.data) == final
        refused: list[str] = []

        async def note(error: Exception) -> None:
            refused.append(str(error))

        for number, user in enumerate(("analytics:$ANALYTICS", "exporter:$EXPORTER")):
            client = await nats_client(f"nats://{user}@{where}", error_cb=note)
            await client.subscribe("va1.media.>")
            await client.publish("va1.event.desk.s1.llm.turn_cancelled", b"")
            expected = 2 * (number + 1)
            await client.flush()
            async with asyncio.timeout(WITHIN_S):  # a refusal may come after the answer to a flush
                while len(refused) < expected:
                    await asyncio.sleep(0.01)
            await client.close()
        assert [error.count("permissions violation") for error in refused] == [1, 1, 1, 1]


def test_transcripts_needs_nothing_of_ours() -> None:
    tree = ast.parse((EXAMPLES / "transcripts.py").read_text(encoding="utf-8"))
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name.partition(".")[0] for name in imported} - sys.stdlib_module_names == {"msgpack", "nats"}


async def test_talk_time_counts_a_call_as_it_happens(tmp_path: Path) -> None:
    agent = scripted_agent("desk", stt={"texts": ["one", "two"]}, tts={"duration_ms": 400})
    async with (
        open_platform(tmp_path, [agent]) as home,
        example("talk_time.py", "--nats", home.nats, "--json") as process,
    ):
        assert json.loads(await next_line(process)) == {"agents": {}}
        call = await home.simulated_call("desk", turns=2, every_ms=2_500, start_ms=500, speech_ms=300)
        await call.until(events.SessionClosed)
        told = await counted(process, turns=2)
        desk = told["desk"]
        assert (desk["calls"], desk["interruptions"]) == (1, 0)
        spoken = (
            sum(end.until_sample - start.start_sample for start, end in zip(*spans(call.events), strict=True)) / 16_000
        )
        assert desk["caller_s"] == round(spoken, 1) > 0
        assert desk["agent_s"] == round(sum(event.heard_ms for event in call.all(events.PlaybackEnded)) / 1_000, 1) > 0
        assert 100 < desk["p50_ms"] <= desk["p95_ms"] <= desk["p99_ms"]


async def test_talk_time_shows_a_table(nats: str, bus: Bus) -> None:
    async with example("talk_time.py", "--nats", nats) as process:
        await heard_by_somebody(bus, OPENED)
        shown = await ended(process)
    assert "interrupted" in shown
    assert "desk" in shown


async def counted(process: asyncio.subprocess.Process, turns: int) -> Any:
    """The agents once so many turns of the desk are counted."""
    while True:
        told = json.loads(await next_line(process))["agents"]
        if told.get("desk", {}).get("turns") == turns:
            return told


def spans(call_events: list[Event]) -> tuple[list[events.SpeechStarted], list[events.SpeechEnded]]:
    """Where the caller spoke."""
    return (
        [event for event in call_events if isinstance(event, events.SpeechStarted)],
        [event for event in call_events if isinstance(event, events.SpeechEnded)],
    )


@pytest.fixture(scope="module")
def talk_time() -> Any:
    """The example as a module."""
    spec = importlib.util.spec_from_file_location("talk_time", EXAMPLES / "talk_time.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_talk_time_counts_a_repeated_fact_once_and_forgets_closed_calls(talk_time: Any) -> None:
    talk = talk_time.TalkTime()
    call_events = [
        OPENED,
        events.TurnStarted(session="s", agent="desk", turn=1, answers=-1),
        events.TurnEnded(session="s", agent="desk", turn=1, seq=1, heard="Good", interrupted=True),
    ]
    for event in [*call_events, *call_events]:
        talk.hear(event)
    assert talk.agents["desk"].told() == {
        "calls": 1, "turns": 1, "interruptions": 1, "caller_s": 0, "agent_s": 0,
        "p50_ms": None, "p95_ms": None, "p99_ms": None,
    }  # fmt: skip
    talk.hear(events.SessionClosed(session="s", agent="desk", seq=1, reason="hangup"))
    assert talk._calls == {}


def test_talk_time_does_not_grow_with_calls_that_never_close(talk_time: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(talk_time, "MAX_CALLS", 3)
    talk = talk_time.TalkTime()
    for number in range(5):
        talk.hear(events.SpeechStarted(session=f"s{number}", agent="desk", utterance=0, start_sample=1))
    assert list(talk._calls) == ["s2", "s3", "s4"]


def test_percentiles_are_values_that_were_measured(talk_time: Any) -> None:
    assert [talk_time.percentile(list(range(1, 101)), rank) for rank in (50, 95, 99)] == [50, 95, 99]
    assert [talk_time.percentile([7], rank) for rank in (50, 99)] == [7, 7]
    assert talk_time.percentile([], 50) is None


# --- websocket_client.py ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("none.wav", "No such file or directory. To make one: antiphon say"),
        ("text.wav", "file does not start with RIFF id. To make one: antiphon say"),
        ("empty.wav", "cannot read "),
        ("eight.wav", "is not 16-bit PCM"),
        ("stereo.wav", "cannot call ws://127.0.0.1:1/v1/call: "),
        ("good.wav", "cannot call ws://127.0.0.1:1/v1/call: "),
    ],
)
async def test_the_websocket_client_fails_in_one_line(tmp_path: Path, name: str, complaint: str) -> None:
    (tmp_path / "text.wav").write_text("I am no recording.")
    (tmp_path / "empty.wav").touch()
    for file, channels, sample_bytes in (("eight.wav", 1, 1), ("stereo.wav", 2, 2), ("good.wav", 1, 2)):
        with wave.open(str(tmp_path / file), "wb") as wav:
            wav.setparams((channels, sample_bytes, 16_000, 0, "NONE", ""))
    arguments = ("ws://127.0.0.1:1/v1/call", str(tmp_path / name), str(tmp_path / "answer.wav"))
    async with example("websocket_client.py", *arguments) as process:
        _out, err = await asyncio.wait_for(process.communicate(), WITHIN_S)
    assert process.returncode == 1
    assert complaint in err.decode()
    assert err.decode().count("\n") == 1
