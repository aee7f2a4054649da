"""`antiphon run STAGE`: how one worker process comes, goes slowly, and goes at once."""

import asyncio
import re
import signal
import time
from pathlib import Path

import pytest

from antiphon_testing.agents import scripted_agent
from antiphon_testing.command import antiphon
from antiphon_testing.platform import open_platform
from antiphon_testing.processes import LOUD, Platform, Running, alive, running, until
from antiphon_testing.websocket_caller import dial
from bus.session_client import SessionClient
from schemas import events, subjects
from tests.kit.network import BUS, FAR, elsewhere, needs_network

LONG = scripted_agent("long", llm={"replies": ["You said {text}"]}, stt={"texts": ["one", "two", "three"]})


async def started(home: Platform, worker: Running, stage: str = subjects.STT) -> str:
    """The id of a worker that runs beside those of `up`."""
    ready = await worker.ready()
    assert (ready["event"], ready["stage"]) == ("ready", stage)
    return str(ready["worker"])


async def test_a_signal_moves_its_sessions_to_another_worker(home: Platform, tmp_path: Path) -> None:
    await home.set(LONG)
    with running(tmp_path, "run", "stt", "--json", "--warm", "scripted", "--data", home.data) as worker:
        identity = await started(home, worker)
        async with asyncio.timeout(60):
            while True:  # claims are spread over the workers of a stage: one of the first few calls comes here
                async with dial(home.websocket, "long") as caller:
                    session = caller.session
                    opened = await home.events.until(session, events.SessionOpened)
                    if opened.owners[subjects.STT].worker != identity:
                        continue
                    await home.converse(caller, 1)
                    worker.send(signal.SIGTERM)
                    moved = await home.events.until(session, events.OwnerChanged)
                    assert moved.stage == subjects.STT
                    assert moved.worker != identity
                    assert await worker.ended() == 0
                    await home.ask(caller, 2)
                break
        assert (await home.events.until(session, events.SessionClosed)).reason == "hangup"
        heard = [ended.heard for ended in home.events.of(session, events.TurnEnded)]
        assert heard == ["You said one", "You said one"]  # a new recognizer begins its script anew


async def test_a_signal_lets_an_ingress_finish_its_own(home: Platform, tmp_path: Path) -> None:
    await home.set(LONG)
    with running(tmp_path, "run", "ingress", "--json", "--data", home.data) as worker:
        ready = await worker.ready()
        async with dial(ready["url"], "long") as caller:
            session = caller.session
            await home.events.until(session, events.SessionOpened)
            worker.send(signal.SIGTERM)
            await _draining(home, ready["worker"])
            async with dial(home.websocket, "long") as other:  # new callers reach the other one
                await home.events.until(other.session, events.SessionOpened)
            await home.converse(caller, 2)
            assert alive(worker.pid)
        assert (await home.events.until(session, events.SessionClosed)).reason == "hangup"
        assert [ended.heard for ended in home.events.of(session, events.TurnEnded)] == ["You said one", "You said two"]
        assert await worker.ended() == 0


async def test_it_waits_for_its_own_no_longer_than_it_was_told(home: Platform, tmp_path: Path) -> None:
    await home.set(LONG)
    with running(tmp_path, "run", "ingress", "--json", "--drain-s", "1", "--data", home.data) as worker:
        ready = await worker.ready()
        async with dial(ready["url"], "long") as caller:
            await home.events.until(caller.session, events.SessionOpened)
            began = time.monotonic()
            assert await worker.end() == 0
            assert 1 <= time.monotonic() - began < 10
            await asyncio.wait_for(caller.over.wait(), 10)
            closed = await home.events.until(caller.session, events.SessionClosed)
            assert closed.reason == "shutdown"


async def test_a_second_signal_ends_it_at_once(home: Platform, tmp_path: Path) -> None:
    await home.set(LONG)
    with running(tmp_path, "run", "ingress", "--json", "--data", home.data) as worker:
        ready = await worker.ready()
        async with dial(ready["url"], "long") as caller:
            await home.events.until(caller.session, events.SessionOpened)
            worker.send(signal.SIGTERM)
            await _draining(home, ready["worker"])
            assert alive(worker.pid)
            worker.send(signal.SIGTERM)
            assert await worker.ended(2) != 0
            await asyncio.wait_for(caller.over.wait(), 10)


async def test_one_process_may_work_for_several_stages(home: Platform, tmp_path: Path) -> None:
    with running(tmp_path, "run", "llm", "tts", "--json", "--data", home.data) as both:
        await until(lambda: len(both.lines()) == 2, 30)
        ids = {told["stage"]: told["worker"] for told in both.lines()}
        shown = {worker.id: (worker.stage, worker.pid) for worker in await home.workers()}
        assert {shown[identity] for identity in ids.values()} == {("llm", both.pid), ("tts", both.pid)}
        assert await both.end() == 0


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--host", "0.0.0.0"), r"ws://127\.0\.0\.1:\d+/v1/call"),
        (("--public-url", "wss://voice.example.org"), r"wss://voice\.example\.org/v1/call"),
        (("--host", "0.0.0.0", "--public-url", "ws://[fd00::5]:8080/calls/"), r"ws://\[fd00::5\]:8080/calls/v1/call"),
    ],
)
async def test_an_ingress_tells_where_callers_reach_it(
    home: Platform, tmp_path: Path, options: tuple[str, ...], told: str
) -> None:
    with running(tmp_path, "run", "ingress", "--json", "--data", home.data, *options) as worker:
        ready = await worker.ready()
        assert re.fullmatch(told, ready["url"])
        assert {one.url for one in await home.workers(subjects.INGRESS)} == {home.websocket, ready["url"]}


@needs_network
async def test_an_ingress_on_another_machine_is_called_where_it_is(tmp_path: Path) -> None:
    with elsewhere() as far:
        async with open_platform(tmp_path, [LONG], host=BUS) as home:
            await home.stop(home.ingress)
            options = ("--json", "--nats", home.nats, "--host", "0.0.0.0")
            with running(tmp_path, "run", "ingress", *options, inside=far.name) as worker:
                ready = await worker.ready()
                assert ready["url"].startswith(f"ws://{FAR}:")
                line = await SessionClient(home.bus).claim(LONG.id)
                assert line.url.startswith(ready["url"])
                heard = await home.record()
                async with dial(line.url, LONG.id, line.session) as caller:
                    caller.say(LOUD)
                    ended = await heard.until(events.TurnEnded)
                    assert (ended.session, ended.heard) == (caller.session, "You said one")


@pytest.mark.parametrize(
    "arguments",
    [
        ("nobody",),
        ("stt", "nobody"),
        (),
        ("stt", "--capacity", "0"),
        ("stt", "--drain-s", "-1"),
        ("stt", "--vad", "radar"),
        ("ingress", "--port", "x"),
        ("ingress", "--public-url", "voice.example.org"),
        ("ingress", "--public-url", "https://voice.example.org"),
        ("ingress", "--public-url", "wss://"),
        ("ingress", "--public-url", "wss://voice.example.org:x"),
        ("ingress", "--public-url", "wss://voice.example.org?agent=a"),
        ("ingress", "--public-url", "wss://me:secret@voice.example.org"),
    ],
)
async def test_wrong_use_is_exit_code_2(arguments: tuple[str, ...]) -> None:
    told = await antiphon("run", *arguments, "--nats", "nats://127.0.0.1:1")
    assert (told.code, told.out) == (2, "")
    assert told.err.count("\n") == 1


async def test_no_nats_is_one_line() -> None:
    nobody = "nats://127.0.0.1:1"
    for told in await asyncio.gather(
        *(antiphon("run", stage, "--nats", nobody) for stage in (*subjects.STAGES, "config"))
    ):
        assert (told.code, told.out) == (1, "")
        assert told.err.startswith(f"error: cannot reach NATS at {nobody}")
        assert told.err.count("\n") == 1


async def test_a_provider_that_is_not_there_is_one_line(home: Platform) -> None:
    told = await antiphon("run", "llm", "--warm", "nobody", "--nats", home.nats)
    assert told.code == 1
    assert "nobody" in told.err
    assert told.err.count("\n") == 1


async def _draining(home: Platform, worker: str) -> None:
    async with asyncio.timeout(10):
        while {status.id: status.state for status in await home.workers()}.get(worker) != "draining":
            await asyncio.sleep(0.05)
