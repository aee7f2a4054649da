"""A caller against a small server of the same protocol."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import soundfile
from aiohttp import WSMsgType, web

from antiphon_testing.recording import Recording
from antiphon_testing.websocket_caller import CallFailed, dial
from cli.audiofile import write_wav
from schemas.audio import AGENT_FRAME_BYTES, AGENT_HZ, CALLER_FRAME_BYTES, CALLER_HZ, FRAME_MS

HELLO = {"type": "session", "session": "s1", "input_hz": CALLER_HZ, "output_hz": AGENT_HZ}
SPEECH = b"".join(sample.to_bytes(2, "little") for sample in range(1, 1_001))  # 62.5 ms: three frames and a bit

Answer = Callable[[web.Request, web.WebSocketResponse], Awaitable[None]]


@asynccontextmanager
async def serving(answer: Answer) -> AsyncIterator[str]:
    """The URL of a server that accepts calls and does with them what `answer` does."""

    async def accept(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await answer(request, socket)
        return socket

    app = web.Application()
    app.router.add_get("/v1/call", accept)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"ws://127.0.0.1:{runner.addresses[0][1]}/v1/call"
    finally:
        await runner.cleanup()


class Ingress:
    """Takes a call, keeps what the caller sends, and does what the test asks."""

    def __init__(self) -> None:
        self.query: dict[str, str] = {}
        self.frames: list[bytes] = []
        self.arrived: list[float] = []
        self.texts: list[dict[str, object]] = []
        self.came = asyncio.Event()
        self.gone = asyncio.Event()
        self.socket: web.WebSocketResponse | None = None

    async def __call__(self, request: web.Request, socket: web.WebSocketResponse) -> None:
        self.query, self.socket = dict(request.query), socket
        await socket.send_json(HELLO)
        async for message in socket:
            if message.type is WSMsgType.BINARY:
                self.frames.append(message.data)
                self.arrived.append(asyncio.get_running_loop().time())
                self.came.set()
            elif message.type is WSMsgType.TEXT:
                self.texts.append(json.loads(message.data))
        self.gone.set()

    async def heard(self, frames: int) -> None:
        async with asyncio.timeout(5):
            while len(self.frames) < frames:
                self.came.clear()
                await self.came.wait()

    async def play(self, *values: int) -> None:
        assert self.socket is not None
        for value in values:
            await self.socket.send_bytes(bytes([value, 0]) * (AGENT_FRAME_BYTES // 2))


async def test_a_caller_says_its_words_and_then_keeps_the_line_alive_with_silence() -> None:
    ingress = Ingress()
    async with serving(ingress) as url, dial(url, "desk", "s1") as caller:
        assert caller.session == "s1"
        caller.say(SPEECH[:1_000])
        caller.say(SPEECH[1_000:])
        assert caller.saying
        await ingress.heard(8)
        assert not caller.saying
    assert ingress.query == {"agent": "desk", "session": "s1"}
    assert {len(frame) for frame in ingress.frames} == {CALLER_FRAME_BYTES}
    assert b"".join(ingress.frames).strip(b"\x00") == SPEECH.strip(b"\x00")


async def test_frames_keep_to_an_absolute_schedule() -> None:
    """The n-th frame is never early: what is late is caught up, and no lateness adds to the next."""
    ingress = Ingress()
    async with serving(ingress) as url, dial(url, "desk"):
        await ingress.heard(40)
    first = ingress.arrived[0]
    lateness = [came - first - number * FRAME_MS / 1000 for number, came in enumerate(ingress.arrived)]
    assert min(lateness[20:]) - min(lateness[:20]) == pytest.approx(0, abs=FRAME_MS / 1000)


async def test_leaving_the_call_hangs_up() -> None:
    ingress = Ingress()
    async with serving(ingress) as url:
        async with dial(url, "desk"):
            await ingress.heard(1)
        async with asyncio.timeout(2):
            await ingress.gone.wait()
    assert ingress.texts == [{"type": "hangup"}]


async def test_what_is_cleared_is_not_heard_and_both_lines_have_one_clock(tmp_path: Path) -> None:
    ingress = Ingress()
    with Recording() as recording:
        async with serving(ingress) as url, dial(url, "desk", recording=recording) as caller:
            caller.say(SPEECH)
            await ingress.heard(2)
            await ingress.play(*range(1, 11))
            assert ingress.socket is not None
            await ingress.socket.send_json({"type": "clear"})
            await ingress.heard(20)
            assert not caller.hearing
        write_wav(tmp_path / "call.wav", recording.stereo_blocks(), AGENT_HZ, channels=2)
        write_wav(tmp_path / "heard.wav", recording.heard_blocks(), AGENT_HZ)
    both, hz = soundfile.read(tmp_path / "call.wav", dtype="int16")
    heard, _ = soundfile.read(tmp_path / "heard.wav", dtype="int16")
    assert hz == AGENT_HZ
    assert len(both) == len(heard) == caller.sent * AGENT_HZ // CALLER_HZ
    assert both[:, 1].tolist() == heard.tolist()
    values = [value for value in heard.tolist() if value]
    assert values == sorted(values)
    assert values.count(1) == AGENT_FRAME_BYTES // 2, "the frame that plays is heard to its end"
    assert max(values) < 5, "the rest of 200 ms of frames is dropped"
    assert 900 < both[:, 0].max() < 1_200, "the caller is on the left"


async def test_a_far_side_that_hangs_up_ends_the_call_without_a_problem() -> None:
    async def answer(_: web.Request, socket: web.WebSocketResponse) -> None:
        await socket.send_json(HELLO)
        await socket.send_json({"type": "hangup"})

    async with serving(answer) as url, dial(url, "desk") as caller, asyncio.timeout(2):
        await caller.over.wait()
        assert caller.problem == ""


async def test_an_error_during_the_call_is_told() -> None:
    async def answer(_: web.Request, socket: web.WebSocketResponse) -> None:
        await socket.send_json(HELLO)
        await socket.send_json({"type": "error", "message": "no worker of stage stt"})

    async with serving(answer) as url, dial(url, "desk") as caller, asyncio.timeout(2):
        await caller.over.wait()
        assert caller.problem == "no worker of stage stt"


async def test_a_line_that_breaks_is_told() -> None:
    async def answer(_: web.Request, socket: web.WebSocketResponse) -> None:
        await socket.send_json(HELLO)

    async with serving(answer) as url, dial(url, "desk") as caller, asyncio.timeout(2):
        await caller.over.wait()
        assert caller.problem == "the connection was lost"


async def test_what_is_not_understood_is_passed_over() -> None:
    ingress = Ingress()
    async with serving(ingress) as url, dial(url, "desk") as caller:
        await ingress.heard(1)
        assert ingress.socket is not None
        for text in ("no json", "[1]", '{"type":"from the future"}', "{}"):
            await ingress.socket.send_str(text)
        await ingress.heard(6)
        assert not caller.over.is_set()


async def test_an_agent_that_nobody_knows_is_refused_in_the_words_of_the_far_side() -> None:
    async def answer(_: web.Request, socket: web.WebSocketResponse) -> None:
        await socket.send_json({"type": "error", "message": "no agent nobody: antiphon agent list"})

    async with serving(answer) as url:
        with pytest.raises(CallFailed, match="no agent nobody: antiphon agent list"):
            async with dial(url, "nobody"):
                pass


@pytest.mark.parametrize(
    "hello",
    ['{"type":"welcome"}', '{"type":"session","session":"s1","input_hz":8000,"output_hz":8000}', "hello", "[]"],
)
async def test_another_protocol_is_not_spoken_to(hello: str) -> None:
    async def answer(_: web.Request, socket: web.WebSocketResponse) -> None:
        await socket.send_str(hello)

    async with serving(answer) as url:
        with pytest.raises(CallFailed, match="does not speak this protocol"):
            async with dial(url, "desk"):
                pass


@pytest.mark.parametrize(
    ("path", "says"),
    [("/nothing/here", "HTTP 404"), ("", "cannot call")],
)
async def test_a_wrong_address_is_told_in_one_line(path: str, says: str) -> None:
    async with serving(Ingress()) as url:
        wrong = url.replace("/v1/call", path) if path else "ws://127.0.0.1:1/v1/call"
        with pytest.raises(CallFailed, match=says) as failed:
            async with dial(wrong, "desk"):
                pass
    assert "\n" not in str(failed.value)
