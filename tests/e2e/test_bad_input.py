"""What cannot be done is told in one line, with an exit code that is not 0, and leaves nothing half done."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import soundfile
from aiohttp import ClientSession, WSMsgType

from antiphon_testing.agents import scripted_agent
from antiphon_testing.command import Finished, antiphon
from antiphon_testing.processes import Platform, taken_port
from antiphon_testing.sounds import question
from bus.session_client import SessionClient
from schemas.agent import AgentDocument


def answered_by(agent: str, llm: dict[str, Any]) -> AgentDocument:
    return AgentDocument.model_validate({**scripted_agent(agent).model_dump(), "llm": llm})


NEEDS_KEY = answered_by("needs-key", {"provider": "openai", "options": {"model": "m"}})
BAD_IDS = ["a.b", "a*", "*", ">", "a\nb", "a b", "", "x" * 65, "ä"]
NOBODY = "nats://127.0.0.1:1"


def refused(told: Finished, *parts: str) -> None:
    """It failed with one line on stderr that says all of `parts`."""
    assert told.code in (1, 2)
    assert told.out == ""
    assert told.err.startswith("error: ")
    assert told.err.count("\n") == 1
    assert "Traceback" not in told.err
    assert "a fault of Antiphon" not in told.err
    assert [part for part in parts if part not in told.err] == []


def files(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


def empty(folder: Path) -> Path:
    (folder / "empty.wav").touch()
    return folder / "empty.wav"


def text(folder: Path) -> Path:
    (folder / "text.wav").write_text("This is not a sound.")
    return folder / "text.wav"


def no_samples(folder: Path) -> Path:
    soundfile.write(folder / "none.wav", [], 16_000)
    return folder / "none.wav"


def half_a_header(folder: Path) -> Path:
    (folder / "half.wav").write_bytes(question(folder / "whole.wav").read_bytes()[:30])
    (folder / "whole.wav").unlink()
    return folder / "half.wav"


def missing(folder: Path) -> Path:
    return folder / "missing.wav"


def a_folder(folder: Path) -> Path:
    (folder / "folder").mkdir()
    return folder / "folder"


@pytest.mark.parametrize("make", [empty, text, no_samples, half_a_header, missing, a_folder])
async def test_a_file_that_is_no_sound_is_not_called_with(
    home: Platform, tmp_path: Path, make: Callable[[Path], Path]
) -> None:  # fmt: skip
    wav = make(tmp_path)
    before = files(tmp_path)
    opened = home.events.sessions
    options = ("--out", tmp_path / "o.wav", "--record", tmp_path / "r.wav", "--picture", tmp_path / "p.png")
    refused(await home.antiphon("call", wav, "--agent", "echo", *options), str(wav))
    assert files(tmp_path) == before
    assert home.events.sessions == opened  # nobody was called


@pytest.mark.parametrize(
    ("agent", "says"),
    [
        ("nobody", ("nobody",)),
        ("needs-key", ("OPENAI_API_KEY",)),
        ("needs-provider", ("no provider 'nobodys'",)),
        ("wrong-option", ("option first",)),
    ],
)
async def test_an_agent_that_cannot_be_called_is_told_and_leaves_no_files(
    home: Platform, tmp_path: Path, agent: str, says: tuple[str, ...]
) -> None:
    await home.set(
        NEEDS_KEY,
        answered_by("needs-provider", {"provider": "nobodys"}),
        scripted_agent("wrong-option", tts={"first": 1}),
    )
    wav = question(tmp_path / "q.wav")
    options = ("--out", tmp_path / "o.wav", "--record", tmp_path / "r.wav", "--picture", tmp_path / "p.png", "--json")
    told = await home.antiphon("call", wav, "--agent", agent, *options)
    refused(told._replace(out=""), *says)  # with --json it may have said that the session closed
    assert files(tmp_path) == [wav]


async def test_files_that_cannot_be_written_are_told_before_the_call(home: Platform, tmp_path: Path) -> None:
    wav = question(tmp_path / "q.wav")
    opened = home.events.sessions
    for path in (tmp_path / "nowhere" / "o.wav", tmp_path):
        for option in ("--out", "--record", "--picture"):
            refused(await home.antiphon("call", wav, "--agent", "echo", option, path), str(tmp_path))
    assert home.events.sessions == opened


async def test_no_nats_is_one_line_everywhere(tmp_path: Path) -> None:
    wav = question(tmp_path / "q.wav")
    commands: list[tuple[object, ...]] = [
        ("call", wav), ("ps", "--json"), ("tail",), ("agent", "list"), ("agent", "show", "x"), ("run", "llm"),
    ]  # fmt: skip
    for told in await asyncio.gather(*(antiphon(*command, "--nats", NOBODY) for command in commands)):
        refused(told, NOBODY)
    for told in await asyncio.gather(*(antiphon(*command, "--data", tmp_path) for command in commands)):
        refused(told, "nothing runs in", str(tmp_path))


@pytest.mark.parametrize(
    "url", ["junk", "http://127.0.0.1:80", "nats://127.0.0.1:none", "nats://", "nats://no.such.host.invalid:4222"]
)
async def test_a_url_that_is_none_of_nats_is_one_line(url: str) -> None:
    refused(await antiphon("ps", "--nats", url))


async def test_what_answers_is_no_nats(home: Platform) -> None:
    with taken_port() as port:  # takes connections, and says nothing
        refused(await antiphon("ps", "--nats", f"nats://127.0.0.1:{port}"), str(port))


async def test_ids_that_could_widen_a_subject_are_refused(home: Platform, tmp_path: Path) -> None:
    wav = question(tmp_path / "q.wav")
    for bad in ("a.b", "*", ">", "a\nb"):
        document = json.dumps({"id": bad})
        for told in await asyncio.gather(
            home.antiphon("call", wav, "--agent", bad),
            home.antiphon("agent", "show", bad),
            home.antiphon("agent", "set", "-", stdin=document),
            home.antiphon("tail", "--session", bad),
            home.antiphon("tail", "--agent", bad),
        ):
            refused(told)


async def said_to(home: Platform, **query: str) -> list[tuple[WSMsgType, str]]:
    """All that a websocket with this query is told."""
    told: list[tuple[WSMsgType, str]] = []
    async with ClientSession() as http, http.ws_connect(home.websocket, params=query) as socket:
        while True:
            message = await socket.receive(timeout=10)
            if message.type in (WSMsgType.CLOSE, WSMsgType.CLOSING, WSMsgType.CLOSED):
                return told
            told.append((message.type, str(message.data)))


async def test_a_websocket_for_nobody_is_told_why_and_closed(home: Platform) -> None:
    opened = home.events.sessions
    queries = [{"agent": bad} for bad in [*BAD_IDS, "nobody"]]
    queries += [{"agent": "echo", "session": bad} for bad in [*BAD_IDS, "never-claimed"]]
    for query in [{}, *queries]:
        [(kind, message)] = await said_to(home, **query)
        assert kind is WSMsgType.TEXT
        assert '"type":"error"' in message, query
    assert home.events.sessions == opened


async def test_a_websocket_to_an_agent_without_its_key_is_told_the_variable(home: Platform) -> None:
    await home.set(NEEDS_KEY)
    told = await said_to(home, agent="needs-key")
    assert "OPENAI_API_KEY" in told[-1][1]
    assert '"type":"error"' in told[-1][1]


async def test_a_line_is_good_for_one_call(home: Platform) -> None:
    line = await SessionClient(home.bus).claim("echo")
    async with ClientSession() as http, http.ws_connect(line.url) as socket:
        assert (await socket.receive_json(timeout=10))["session"] == line.session
        [(_, message)] = await said_to(home, agent="echo", session=line.session)
        assert '"type":"error"' in message
