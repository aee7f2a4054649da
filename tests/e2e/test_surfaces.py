"""What other programs build on: the exact keys, the lines, the files of every command."""

import asyncio
import json
import signal
from pathlib import Path

import numpy as np
import pytest
import soundfile

from antiphon_testing.agents import scripted_agent
from antiphon_testing.processes import Platform, alive, running
from antiphon_testing.sounds import question
from antiphon_testing.websocket_caller import dial
from cli import call as calling
from schemas import subjects
from schemas.audio import AGENT_HZ
from stages.tts import token_codec

QUIET_S = 2.0
PNG = b"\x89PNG\r\n\x1a\n"


def heard_in(path: Path, channel: int = 0) -> str:
    samples, hz = soundfile.read(path, dtype="int16", always_2d=True)
    return token_codec.decode(samples[:, channel].tobytes(), hz)


async def test_ps_tells_the_workers_and_the_sessions_and_no_more(home: Platform) -> None:
    async with dial(home.websocket, "echo") as caller:
        await home.converse(caller, 1)
        shown = json.loads((await home.antiphon("ps", "--json")).out)
        readable = await home.antiphon("ps")
    assert set(shown) == {"workers", "sessions"}
    for worker in shown["workers"]:
        assert set(worker) == {"id", "stage", "pid", "host", "sessions", "capacity", "state"}
        assert (worker["sessions"], worker["capacity"], worker["state"]) == (1, 100, "ready")
        assert alive(worker["pid"])
    assert [worker["stage"] for worker in shown["workers"]] == list(subjects.STAGES)
    [session] = shown["sessions"]
    assert set(session) == {"session", "agent", "epoch", "owners", "age_s"}
    assert (session["session"], session["agent"]) == (caller.session, "echo")
    assert session["owners"] == {worker["stage"]: worker["id"] for worker in shown["workers"]}
    assert session["age_s"] > 0
    assert session["epoch"] >= 1
    assert caller.session[:8] in readable.out
    assert (readable.code, readable.err) == (0, "")


async def test_a_call_prints_its_facts_and_leaves_its_files(home: Platform, tmp_path: Path) -> None:
    wav = question(tmp_path / "q.wav")
    out, record, picture = (tmp_path / name for name in ("out.wav", "both.wav", "call.png"))
    told = await home.antiphon(
        "call", wav, "--agent", "echo", "--out", out, "--record", record, "--picture", picture, "--json"
    )
    assert (told.code, told.err) == (0, "")
    events = [json.loads(line) for line in told.out.splitlines()]
    for event in events:
        assert {"event", "session", "agent", "epoch", "seq", "time"} <= set(event)
        assert isinstance(event["time"], int)
    told_after_opening = [
        event["event"] for event in events if not event["event"].startswith("stt.")
    ]  # it listens before
    assert (told_after_opening[0], events[-1]["event"]) == ("ingress.session_opened", "ingress.session_closed")
    [final] = [event for event in events if "final" in event["event"]]
    assert final["text"] == "one"
    heard, both = soundfile.info(out), soundfile.info(record)
    assert (heard.samplerate, heard.channels, heard.subtype) == (AGENT_HZ, 1, "PCM_16")
    assert (both.samplerate, both.channels, both.subtype) == (AGENT_HZ, 2, "PCM_16")
    assert abs(heard.frames - both.frames) <= AGENT_HZ // 50
    assert heard_in(out) == heard_in(record, 1) == "You said one"
    samples, hz = soundfile.read(out, dtype="int16")
    quiet_s = (len(samples) - 1 - int(np.flatnonzero(samples)[-1])) / hz
    assert QUIET_S - 0.1 <= quiet_s < QUIET_S + 3  # it hangs up after two seconds of quiet
    caller = soundfile.read(record, dtype="int16")[0][:, 0]
    assert abs(int(np.flatnonzero(np.abs(caller) > 2_000)[-1]) / hz - 0.4) < 0.05  # its own words, where it said them
    assert picture.read_bytes().startswith(PNG)


async def test_a_call_in_telephone_quality_is_converted_and_shown(home: Platform, tmp_path: Path) -> None:
    wav = question(tmp_path / "phone.wav", hz=8_000, channels=2, subtype="ULAW")
    out = tmp_path / "out.wav"
    told = await home.antiphon("call", wav, "--agent", "echo", "--out", out)
    assert (told.code, told.err) == (0, "")
    assert "one" in told.out
    assert heard_in(out) == "You said one"


async def test_an_agent_that_never_stops_is_hung_up_on(
    home: Platform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    await home.set(scripted_agent("endless", tts={"duration_ms": 60_000}))
    monkeypatch.setattr(calling, "CAP_S", 2.0)
    out = tmp_path / "out.wav"
    await asyncio.to_thread(
        calling.call, question(tmp_path / "q.wav"), agent="endless", out=out, json=True, nats=home.nats
    )
    assert 2.0 <= soundfile.info(out).duration < 5.0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["event"] == "ingress.session_closed"


async def test_tail_follows_calls_as_they_happen(home: Platform, tmp_path: Path) -> None:
    await home.set(scripted_agent("other", llm={"replies": ["Other {text}"]}, stt={"interim_ms": 0}))
    everything, one_agent, readable = (
        running(tmp_path, "tail", *options, "--data", home.data, NO_COLOR="1")
        for options in (("--json",), ("--json", "--agent", "other"), ())
    )
    with everything as all_, one_agent as other, readable as text:

        async def both_calls() -> None:
            await asyncio.gather(home.talk("echo"), home.talk("other"))

        def heard_it_all() -> bool:
            closed = all("session_closed" in tail.out for tail in (all_, other, text))
            return closed and "transcript_interim" in all_.out and "You said one" in text.out  # live ones, too

        async with asyncio.timeout(40):  # nobody tells when they begin to listen: call until they have heard a call
            while not heard_it_all():
                await both_calls()
        said = all_.lines()
        assert {event["agent"] for event in said} >= {"echo", "other"}
        assert {event["agent"] for event in other.lines()} == {"other"}
        assert "\x1b" not in text.out
        session = other.lines()[0]["session"]
        assert {event["event"] for event in other.lines() if event["session"] == session} >= {"ingress.session_closed"}
        for tail in (all_, other, text):
            await tail.end(signal.SIGINT)
            assert tail.err == ""


async def test_tail_follows_one_session(home: Platform, tmp_path: Path) -> None:
    async with dial(home.websocket, "echo") as caller:
        with running(tmp_path, "tail", "--json", "--session", caller.session, "--data", home.data) as tail:
            async with asyncio.timeout(40):
                turn = 0
                while not tail.out:
                    turn += 1
                    await asyncio.gather(home.ask(caller, turn), home.talk("echo"))
            assert {event["session"] for event in tail.lines()} == {caller.session}


async def test_agents_are_set_listed_and_shown(home: Platform, tmp_path: Path) -> None:
    document = tmp_path / "desk.json"
    document.write_text(json.dumps({"id": "desk", "greeting": "Good morning.", "facts": ["We open at nine."]}))
    first = json.loads((await home.antiphon("agent", "set", document, "--json")).out)
    again = json.loads((await home.antiphon("agent", "set", "-", "--json", stdin="{id: desk, greeting: Hello.}")).out)
    assert again["set"]["desk"] == first["set"]["desk"] + 1
    listed = json.loads((await home.antiphon("agent", "list", "--json")).out)["agents"]
    assert {"desk", "echo", "receptionist"} <= {agent["id"] for agent in listed}
    shown = json.loads((await home.antiphon("agent", "show", "desk", "--json")).out)
    assert shown["document"]["greeting"] == "Hello."
    readable = await home.antiphon("agent", "show", "desk")
    assert "greeting: Hello." in readable.out
    assert "desk" in (await home.antiphon("agent", "list")).out


async def test_doctor_tells_what_works(home: Platform) -> None:
    told = await home.antiphon("doctor", "--json")
    shown = json.loads(told.out)
    assert told.code == (0 if shown["ok"] else 1)
    assert {check["state"] for check in shown["checks"]} <= {"ok", "warn", "fail"}
    assert all(check["fix"] for check in shown["checks"] if check["state"] != "ok")
