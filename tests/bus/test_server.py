"""The embedded server lives and dies with the process that started it."""

import asyncio
import os
import signal
import sys
import time
from pathlib import Path

import pytest

from antiphon_testing.bus import WITHIN_S, server_pid, until
from bus import server
from bus.connect import connect
from bus.errors import Unreachable
from bus.settings import BusSettings

PARENT = """
import asyncio, pathlib, sys
from bus import server

async def main():
    async with server.serve(pathlib.Path(sys.argv[1])) as url:
        print(url, flush=True)
        await asyncio.sleep(60)

asyncio.run(main())
"""


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


async def test_it_is_there_at_once_and_gone_afterwards(tmp_path: Path) -> None:
    started = time.monotonic()
    async with server.serve(tmp_path) as url:
        assert time.monotonic() - started < 5.0
        pid = server_pid(tmp_path)
        async with connect(BusSettings(url=url)) as bus:
            assert bus.connected
            assert url.rpartition(":")[2] in bus.server
    assert not alive(pid)


async def test_two_servers_on_one_machine_do_not_meet(tmp_path: Path) -> None:
    async with server.serve(tmp_path / "a") as one, server.serve(tmp_path / "b") as other:
        assert one != other


async def test_it_dies_with_its_parent_even_when_that_is_killed(tmp_path: Path) -> None:
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PARENT, str(tmp_path), stdout=asyncio.subprocess.PIPE, cwd=Path(__file__).parents[2]
    )
    assert parent.stdout
    assert (await asyncio.wait_for(parent.stdout.readline(), WITHIN_S)).startswith(b"nats://")
    pid = server_pid(tmp_path)
    assert alive(pid)
    parent.kill()
    await parent.wait()
    await until(lambda: not alive(pid))


async def test_a_server_that_does_not_end_by_itself_is_ended(tmp_path: Path) -> None:
    async with server.serve(tmp_path):
        pid = server_pid(tmp_path)
        os.kill(pid, signal.SIGSTOP)  # a stopped process takes no SIGTERM
    await until(lambda: not alive(pid))


async def test_a_port_that_is_taken_is_told(tmp_path: Path) -> None:
    async with server.serve(tmp_path / "first") as url:
        port = int(url.rpartition(":")[2])
        with pytest.raises(Unreachable, match=f":{port}: bind: address already in use"):
            async with server.serve(tmp_path / "second", port):
                pass


async def test_an_old_complaint_is_not_taken_for_the_new_one(tmp_path: Path) -> None:
    (tmp_path / "nats").mkdir()
    (tmp_path / "nats" / "nats.log").write_text("[1] [FTL] the complaint of last week\n")
    (tmp_path / "nats" / "jetstream").write_text("a file where a folder should be")
    with pytest.raises(Unreachable, match="cannot start nats-server") as refused:
        async with server.serve(tmp_path):
            pass
    assert "last week" not in str(refused.value)
    assert "jetstream" in str(refused.value).lower()
