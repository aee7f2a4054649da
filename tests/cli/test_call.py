"""`antiphon call` against a small ingress on a real bus: what it prints, what it keeps, and how it refuses."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
import soundfile
from aiohttp import WSMsgType, web

from bus.connect import Bus
from bus.message import Message
from bus.session_client import SessionClient
from cli.audiofile import write_wav
from cli.call import QUIET_S, call, claim
from cli.errors import Failed, WrongUse
from schemas import control, events, subjects
from schemas.audio import AGENT_FRAME_BYTES, AGENT_HZ, CALLER_FRAME_BYTES, CALLER_HZ
from schemas.events import Event

SESSION = "s1"
TONE = b"\x00\x10" * (AGENT_FRAME_BYTES // 2)
ANSWER_FRAMES = 60  # 1.2 s
QUESTION = b"\x00\x10" * (CALLER_FRAME_BYTES // 2) * 15  # 0.3 s


class Ingress:
    """One line: hears the question, answers with a tone, says the events of all stages itself."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._seq: dict[str, int] = {}
        self.url = ""

    def answer(self, message: Message) -> None:
        agent = control.decode(message.data, control.ClaimSession).agent
        line = control.SessionOffer(SESSION, self.url)
        if agent != "desk":
            line = control.SessionOffer(refused="unknown_agent", detail=f"no agent {agent!r}")
        self._bus.publish(message.reply, control.encode(line))

    async def accept(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.send_json({"type": "session", "session": SESSION, "input_hz": CALLER_HZ, "output_hz": AGENT_HZ})
        self._say(events.SessionOpened(owners={}, coordinator="c", transport="websocket", started_us=1, config={}))
        frames = 0
        async for message in socket:
            if message.type is WSMsgType.TEXT:
                break
            frames += 1
            if frames == 20:
                await self._speak(socket)
        self._say(events.SessionClosed(reason="hangup"))
        return socket

    async def _speak(self, socket: web.WebSocketResponse) -> None:
        self._say(
            events.SpeechStarted(utterance=0, start_sample=0), events.SpeechEnded(utterance=0, until_sample=4_800)
        )
        self._say(events.TranscriptFinal(utterance=0, text="when", start_sample=0, until_sample=4_800))
        self._say(events.TurnStarted(turn=2, answers=0, text="when", time=2))
        for _ in range(ANSWER_FRAMES):
            await socket.send_bytes(TONE)
        self._say(events.PlaybackEnded(turn=2, heard_ms=1_200), events.TurnEnded(turn=2, heard="At nine."))

    def _say(self, *call_events: Event) -> None:
        for event in call_events:
            seq = self._seq.get(events.stage(event), 0)
            self._seq[events.stage(event)] = seq + 1
            said = msgspec.structs.replace(event, session=SESSION, agent="desk", seq=seq)
            self._bus.publish(subjects.event("desk", SESSION, events.tag(event)), events.encode(said))


@asynccontextmanager
async def ingress_on(bus: Bus) -> AsyncIterator[Ingress]:
    ingress = Ingress(bus)
    app = web.Application()
    app.router.add_get("/v1/call", ingress.accept)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    ingress.url = f"ws://127.0.0.1:{runner.addresses[0][1]}/v1/call"
    await bus.subscribe(subjects.claim(subjects.INGRESS), ingress.answer, queue=subjects.INGRESS)
    await bus.flush()
    try:
        yield ingress
    finally:
        await runner.cleanup()


def question(folder: Path) -> Path:
    path = folder / "question.wav"
    write_wav(path, iter([QUESTION]), CALLER_HZ)
    return path


async def test_a_call_prints_its_facts_and_keeps_what_was_heard(
    bus: Bus, nats: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:  # fmt: skip
    out, record, picture = (tmp_path / name for name in ("out.wav", "both.wav", "call.png"))
    async with ingress_on(bus):
        await asyncio.to_thread(
            call, question(tmp_path), agent="desk", out=out, record=record, picture=picture, json=True, nats=nats
        )
    call_events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [event["event"] for event in call_events] == [
        "ingress.session_opened",
        "stt.speech_started",
        "stt.speech_ended",
        "stt.transcript_final",
        "llm.turn_started",
        "egress.playback_ended",
        "llm.turn_ended",
        "ingress.session_closed",
    ]
    assert call_events[3]["text"] == "when"
    assert {event["session"] for event in call_events} == {SESSION}
    heard, hz = soundfile.read(out, dtype="int16")
    assert hz == AGENT_HZ
    sounding = heard.nonzero()[0]
    assert len(sounding) == ANSWER_FRAMES * AGENT_FRAME_BYTES // 2, "the whole answer, nothing else"
    assert sounding[-1] - sounding[0] + 1 == len(sounding), "and without a hole"
    under_way = 2 * AGENT_FRAME_BYTES // 2  # a frame counts as heard once it is over, and is looked at a frame later
    assert len(heard) - sounding[-1] >= QUIET_S * AGENT_HZ - under_way, "the caller listened on before it hung up"
    both, _ = soundfile.read(record, dtype="int16")
    assert both[:, 1].tolist() == heard.tolist()
    assert both[: AGENT_HZ // 4, 0].min() > 2_000, "the caller is on the left, from its first sample"
    assert picture.stat().st_size > 0


async def test_a_call_can_be_read_by_a_person(
    bus: Bus, nats: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:  # fmt: skip
    async with ingress_on(bus):
        await asyncio.to_thread(call, question(tmp_path), agent="desk", nats=nats)
    printed = capsys.readouterr().out
    assert "caller  when" in printed
    assert "agent  At nine." in printed
    assert "closed: hangup" in printed


async def test_an_agent_that_nobody_knows(bus: Bus) -> None:
    async with ingress_on(bus):
        with pytest.raises(Failed, match="no agent 'nobody'"):
            await claim(SessionClient(bus), "nobody")


async def test_no_ingress_is_known_at_once(bus: Bus) -> None:
    with pytest.raises(Failed, match=r"no ingress is running.*Start `antiphon up`"):
        async with asyncio.timeout(1):
            await claim(SessionClient(bus), "desk")


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"agent": "a.b"}, "agent id 'a.b' is not allowed"),
        ({"agent": "a\nb"}, "is not allowed"),
        ({"agent": ">"}, "agent id '>' is not allowed"),
        ({"wav": Path("none.wav")}, "cannot read none.wav: there is no such file"),
        ({"out": Path("/nowhere/out.wav")}, "the folder /nowhere does not exist"),
        ({"picture": Path("/")}, "cannot write /: it is a folder"),
    ],
)
def test_wrong_use_is_told_before_anybody_is_called(tmp_path: Path, wrong: dict[str, Any], says: str) -> None:
    options: dict[str, Any] = {"wav": question(tmp_path), "agent": "desk", "nats": "nats://127.0.0.1:1", **wrong}
    with pytest.raises(WrongUse, match=says):
        call(**options)
    assert [path.name for path in tmp_path.iterdir()] == ["question.wav"]


def test_nothing_is_written_when_nats_is_away(tmp_path: Path) -> None:
    from bus.errors import Unreachable

    with pytest.raises(Unreachable, match="antiphon up"):
        call(question(tmp_path), agent="desk", out=tmp_path / "out.wav", nats="nats://127.0.0.1:1")
    assert [path.name for path in tmp_path.iterdir()] == ["question.wav"]
