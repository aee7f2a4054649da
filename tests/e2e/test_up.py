"""`antiphon up` as a person, a script and a supervisor meet it: its ready line, its folder, its end."""

import asyncio
import json
import os
import signal
import time
from pathlib import Path

import pytest

from antiphon_testing.agents import scripted_agent
from antiphon_testing.bus import server_pid
from antiphon_testing.command import antiphon
from antiphon_testing.processes import alive, antiphon_up, descendants, running, taken_port, until
from antiphon_testing.websocket_caller import dial
from composition.child_process import RESTARTS
from schemas import events, subjects

pytestmark = pytest.mark.realtime

CALLS_END_WITHIN_S = 5.0
GONE_WITHIN_S = 6.0  # after a kill -9 of `up` nobody waits for calls, but a loaded machine takes its time
WITHIN_S = 10.0
ECHO = scripted_agent("echo", stt={"texts": ["hi"]})


async def test_it_says_where_everything_is_and_every_command_finds_it(tmp_path: Path) -> None:
    async with antiphon_up(tmp_path) as home:
        [ready] = home.up.lines()
        assert set(ready) == {"event", "nats", "websocket", "talk", "data"}
        assert ready["event"] == "ready"
        assert ready["data"] == str(tmp_path)
        run_file = tmp_path / "run.json"
        assert {"nats": home.nats, "websocket": home.websocket, "data": str(tmp_path)}.items() <= json.loads(
            run_file.read_text()
        ).items()
        by_variable = await antiphon("ps", "--json", ANTIPHON_DATA=str(tmp_path))
        by_option = await home.antiphon("ps", "--json")
        by_url = await antiphon("ps", "--json", "--nats", home.nats, ANTIPHON_NATS_URL="nats://127.0.0.1:1")
        by_url_variable = await antiphon("ps", "--json", ANTIPHON_NATS_URL=home.nats)
        elsewhere = await home.antiphon("ps", "--nats", "nats://127.0.0.1:1")
        elsewhere_by_variable = await home.antiphon("ps", ANTIPHON_NATS_URL="nats://127.0.0.1:1")
        pids = {worker["pid"] for worker in json.loads(by_option.out)["workers"]}
        assert len(pids) == len(subjects.STAGES)
        for told in (by_variable, by_url, by_url_variable):
            assert {worker["pid"] for worker in json.loads(told.out)["workers"]} == pids, told
        for told in (elsewhere, elsewhere_by_variable):
            assert told.code == 1
            assert "127.0.0.1:1" in told.err

        second = await antiphon("up", "--json", "--data", tmp_path)
        assert (second.code, second.out) == (1, "")
        assert f"pid {home.up.pid}" in second.err
        assert second.err.count("\n") == 1
        assert run_file.exists()

        children = descendants(home.up.pid)
        assert len(children) > len(subjects.STAGES) + 1  # the config service and nats-server, too
        assert await home.up.end() == 0
        assert [pid for pid in children if alive(pid)] == []
        assert not run_file.exists()
        assert home.up.err == ""
    after = await antiphon("ps", "--data", tmp_path)
    assert after.code == 1
    assert "nothing runs" in after.err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_the_calls_in_order_and_leaves_nothing(tmp_path: Path, number: signal.Signals) -> None:
    async with antiphon_up(tmp_path) as home:
        await home.set(ECHO)
        children = descendants(home.up.pid)
        async with dial(home.websocket, "echo") as caller:
            await home.converse(caller, 1)
            began = time.monotonic()
            home.up.send(number)
            await asyncio.wait_for(caller.over.wait(), CALLS_END_WITHIN_S)
            assert caller.problem == ""  # a hangup, and no lost line
            closed = await home.events.until(caller.session, events.SessionClosed)
            assert time.monotonic() - began < CALLS_END_WITHIN_S
            assert closed.reason == "shutdown"
        assert await home.up.ended() == 0
        assert [pid for pid in children if alive(pid)] == []
        assert home.up.err == ""


@pytest.mark.parametrize("after_s", [0.5, 2.0])
async def test_a_signal_while_it_starts_leaves_nothing(tmp_path: Path, after_s: float) -> None:
    with running(tmp_path, "up", "--json", "--data", tmp_path) as starting:  # with the local models: it takes a while
        await until(lambda: (tmp_path / "nats").exists(), 30)
        await asyncio.sleep(after_s)
        children = descendants(starting.pid)
        began = time.monotonic()
        assert await starting.end() == 0
        assert time.monotonic() - began < 10
        assert [pid for pid in children if alive(pid)] == []
        assert not (tmp_path / "run.json").exists()
        assert "Traceback" not in starting.err


async def test_its_children_go_when_it_is_killed_and_the_folder_can_be_used_again(tmp_path: Path) -> None:
    async with antiphon_up(tmp_path) as home:
        await home.set(ECHO)
        children = descendants(home.up.pid)
        async with dial(home.websocket, "echo") as caller:
            await home.converse(caller, 1)
            os.kill(home.up.pid, signal.SIGKILL)
            await until(lambda: not any(alive(pid) for pid in children), GONE_WITHIN_S)
    async with antiphon_up(tmp_path) as again:
        assert len(await again.workers()) == len(subjects.STAGES)
        assert (await again.talk("echo")).words == ["You said hi."]  # what was stored is still there


async def test_a_killed_worker_is_started_again(tmp_path: Path) -> None:
    async with antiphon_up(tmp_path) as home:
        await home.set(ECHO)
        for stage in (subjects.STT, subjects.INGRESS):
            [old] = await home.workers(stage)
            os.kill(old.pid, signal.SIGKILL)

            async def another(stage: str = stage, old: str = old.id) -> None:
                while [worker.id for worker in await home.workers(stage)] in ([], [old]):
                    await asyncio.sleep(0.1)

            await asyncio.wait_for(another(), 30)
            assert (await home.talk("echo")).words == ["You said hi."]  # ingress listens where it did before


async def test_a_bus_that_is_killed_is_started_again_where_it_was_and_calls_go_on(tmp_path: Path) -> None:
    async with antiphon_up(tmp_path) as home:
        await home.set(ECHO)
        async with dial(home.websocket, "echo") as caller:
            await home.converse(caller, 1)
            old = server_pid(tmp_path)
            os.kill(old, signal.SIGKILL)
            await until(lambda: home.bus.reconnects == 1, WITHIN_S)
            while len(await home.workers()) < len(subjects.STAGES):
                await asyncio.sleep(0.1)
            await asyncio.sleep(0.5)  # what carries audio comes back by itself, and is as quick
            await home.ask(caller, 2)
            assert server_pid(tmp_path) != old
            assert not caller.over.is_set()
        assert (await home.talk("echo")).words == ["You said hi."]
        assert json.loads((await home.antiphon("ps", "--json")).out)["workers"]
        assert await home.up.end() == 0
        assert home.up.err == ""


async def test_a_bus_that_does_not_stay_alive_ends_all_with_one_clear_line(tmp_path: Path) -> None:
    async with antiphon_up(tmp_path) as home:
        children = descendants(home.up.pid)
        for number in range(RESTARTS):
            os.kill(server_pid(tmp_path), signal.SIGKILL)
            async with asyncio.timeout(WITHIN_S):
                while home.bus.reconnects == number:
                    await asyncio.sleep(0.05)
        os.kill(server_pid(tmp_path), signal.SIGKILL)
        assert await home.up.ended() == 1
        assert home.up.err.count("\n") == 1
        assert "nats" in home.up.err
        assert "does not stay alive" in home.up.err
        assert [pid for pid in children if alive(pid)] == []
        assert not (tmp_path / "run.json").exists()


async def test_a_port_that_is_taken_is_one_clear_line(tmp_path: Path) -> None:
    with taken_port() as port:
        for option in ("--port", "--nats-port"):
            with running(tmp_path, "up", "--json", "--warm", "none", "--data", tmp_path, option, port) as starting:
                await until(lambda: (tmp_path / "nats").exists(), 30)
                children = descendants(starting.pid)
                assert await starting.ended(30) != 0
                assert starting.out == ""
                assert starting.err.count("\n") == 1
                assert "in use" in starting.err
                assert str(port) in starting.err
                assert [pid for pid in children if alive(pid)] == []
                assert not (tmp_path / "run.json").exists()


@pytest.mark.parametrize(
    "options",
    [
        ("--workers", "0"),
        ("--workers", "x=1"),
        ("--workers", "stt"),
        ("--workers", "stt=0"),
        ("--workers", "-1"),
        ("--workers", "two"),
        ("--workers", ""),
        ("--port", "junk"),
        ("--port", "70000"),
        ("--capacity", "0"),
        ("--no-such-option",),
    ],
)
async def test_wrong_use_is_told_in_a_line_and_starts_nothing(tmp_path: Path, options: tuple[str, ...]) -> None:
    data = tmp_path / "data"
    told = await antiphon("up", "--json", "--data", data, *options)
    assert (told.code, told.out) == (2, "")
    assert told.err.startswith("error: ")
    assert told.err.count("\n") == 1
    assert not data.exists()


async def test_a_data_folder_that_cannot_be_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for data in (tmp_path / "file", tmp_path / "file" / "below"):
        told = await antiphon("up", "--json", "--data", data)
        assert told.code != 0
        assert told.err.count("\n") == 1
        assert str(data) in told.err


async def test_without_a_terminal_it_tells_a_person_where_to_call_and_in_no_colour(tmp_path: Path) -> None:
    with running(tmp_path, "up", "--warm", "none", "--data", tmp_path, NO_COLOR="1") as process:
        await until(lambda: "antiphon call" in process.out, 60)
        assert "antiphon is up" in process.out
        run = json.loads((tmp_path / "run.json").read_text())
        for place in (run["talk"], run["websocket"], run["nats"], str(tmp_path)):
            assert f"{place}\n" in process.out, "each stands whole at the end of a line"
        assert "\x1b" not in process.out
        assert await process.end() == 0
        assert "\x1b" not in process.err


async def test_it_runs_where_standard_input_is_closed(tmp_path: Path) -> None:
    with running(tmp_path, "up", "--json", "--warm", "none", "--data", tmp_path, closed=(0,)) as process:
        assert (await process.ready())["event"] == "ready"
        children = descendants(process.pid)
        assert await process.end() == 0
        assert [pid for pid in children if alive(pid)] == []
        assert process.err == ""
