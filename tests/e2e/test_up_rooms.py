"""`antiphon up --livekit`: rooms on one machine, and who is told the secret."""

import json
import os
import signal
from pathlib import Path

import pytest
from pydantic import SecretStr

from antiphon_testing.agents import scripted_agent
from antiphon_testing.command import antiphon
from antiphon_testing.processes import alive, antiphon_up, descendants, until
from antiphon_testing.room_caller import enter_room
from antiphon_testing.room_server import binary
from composition import room_server
from composition.errors import StartFailed
from composition.room_server import RoomServer
from schemas import events
from transports.livekit.settings import LiveKitSettings
from transports.livekit.tokens import Tokens

WITHIN_S = 30.0
ECHO = scripted_agent("echo")


def named(pid: int, name: str) -> list[int]:
    """The processes below `pid` whose program has this name."""
    found = []
    for below in descendants(pid):
        program = told(below, "cmdline").split("\0")[0]
        if program.rpartition("/")[2].startswith(name):
            found.append(below)
    return found


def told(pid: int, what: str) -> str:
    """What the system tells of a process."""
    try:
        return Path(f"/proc/{pid}/{what}").read_text()
    except OSError:  # it has ended
        return ""


async def test_a_room_is_answered_beside_the_calls_and_the_server_is_started_again_when_it_dies(tmp_path: Path) -> None:
    binary()  # skips where there is none
    async with antiphon_up(tmp_path, "--livekit") as home:
        [ready] = home.up.lines()
        assert ready["livekit"].startswith("ws://127.0.0.1:")
        assert json.loads((tmp_path / "run.json").read_text())["livekit"] == ready["livekit"]
        secrets = RoomServer.keys(tmp_path)
        assert oct((tmp_path / "livekit" / "keys.json").stat().st_mode & 0o777) == "0o600"

        for pid in descendants(home.up.pid):
            assert secrets["secret"] not in told(pid, "cmdline")
            is_ingress = "\0run\0ingress\0" in told(pid, "cmdline")
            assert (secrets["secret"] in told(pid, "environ")) == is_ingress, told(pid, "cmdline")

        await home.set(ECHO)
        sent = await home.antiphon("dispatch", "lobby", "--agent", "echo", "--campaign", "spring", "--json")
        assert (sent.code, sent.err) == (0, "")
        assert json.loads(sent.out)["room"] == "lobby"
        keys = Tokens(LiveKitSettings(url=ready["livekit"], key=secrets["key"], secret=SecretStr(secrets["secret"])))
        async with enter_room(ready["livekit"], keys.caller_token("lobby", "", "{}")):
            await until(lambda: bool(home.events.sessions), WITHIN_S)
            [session] = home.events.sessions
            opened = await home.events.until(session, events.SessionOpened)
            assert opened.origin
            assert (opened.transport, opened.origin.room, opened.origin.campaign_id) == ("livekit", "lobby", "spring")

            [server] = named(home.up.pid, "livekit-server")
            os.kill(server, signal.SIGKILL)
            await until(lambda: named(home.up.pid, "livekit-server") not in ([], [server]), WITHIN_S)
        await home.events.until(session, events.SessionClosed, within_s=WITHIN_S)
        metadata = json.dumps({"agent_id": "echo"})
        async with enter_room(
            ready["livekit"], keys.caller_token("again", "", metadata)
        ):  # it waits for ingress to be back
            await until(lambda: len(home.events.sessions) == 2, WITHIN_S)
            await home.events.until(home.events.sessions[1], events.SessionOpened)

        children = descendants(home.up.pid)
        assert await home.up.end() == 0
        assert [pid for pid in children if alive(pid)] == []
        assert home.up.err == ""

    for stage in ("ingress", "egress"):  # nothing goes past our log, not what the SDK says of a server that is gone
        [log] = (tmp_path / "logs").glob(f"{stage}*")
        lines = log.read_text().splitlines()
        assert all(json.loads(line) for line in lines), lines


def test_without_the_server_it_says_how_to_get_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room_server, "TOOLS", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(StartFailed, match=r"make livekit.*--livekit-url"):
        RoomServer(tmp_path)


@pytest.mark.parametrize(
    ("options", "environment", "says"),
    [
        (("--livekit", "--livekit-url", "ws://127.0.0.1:1"), {}, "Choose one"),
        (("--livekit-url", "ws://127.0.0.1:1"), {}, "ANTIPHON_LIVEKIT_KEY, ANTIPHON_LIVEKIT_SECRET"),
        (("--livekit-url", "ws://127.0.0.1:1"), {"ANTIPHON_LIVEKIT_KEY": "k"}, "Set ANTIPHON_LIVEKIT_SECRET"),
        ((), {"ANTIPHON_LIVEKIT_URL": "127.0.0.1:1"}, "ANTIPHON_LIVEKIT_URL"),
    ],
)
async def test_half_of_what_rooms_need_is_told_in_a_line_and_starts_nothing(
    tmp_path: Path, options: tuple[str, ...], environment: dict[str, str], says: str
) -> None:
    data = tmp_path / "data"
    told = await antiphon("up", "--json", "--data", data, *options, **environment)
    assert told.code != 0
    assert says in told.err
    assert told.err.count("\n") == 1
    assert not data.exists()


@pytest.mark.parametrize(
    ("url", "secret", "says"),
    [
        ("", "", "antiphon up --livekit"),
        ("ws://127.0.0.1:1", "s", "cannot be reached"),
    ],
)
async def test_a_dispatch_that_reaches_nobody_says_so(tmp_path: Path, url: str, secret: str, says: str) -> None:
    options = ("--livekit-url", url) if url else ()
    told = await antiphon(
        "dispatch", "lobby", "--agent", "a", "--data", tmp_path, *options,
        ANTIPHON_LIVEKIT_KEY="k", ANTIPHON_LIVEKIT_SECRET=secret,
    )  # fmt: skip
    assert (told.code, told.out) == (1, "")
    assert says in told.err
    assert told.err.count("\n") == 1
