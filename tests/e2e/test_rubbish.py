"""Callers who speak no sense, too fast, or not at all: the call goes on where it can, else it ends by name."""

import asyncio
import base64
import json
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from aiohttp import ClientSession, ClientWebSocketResponse, WSMsgType

from antiphon_testing.agents import scripted_agent
from antiphon_testing.platform import open_platform
from antiphon_testing.processes import LOUD, Platform, descendants, memory_kb
from schemas import events, subjects
from schemas.audio import CALLER_FRAME_BYTES, CALLER_HZ, FRAME_MS, SAMPLE_BYTES
from stages.tts import token_codec
from transports import websocket

FRAME = bytes(CALLER_FRAME_BYTES)
FLOOD_S = 1_200  # of silence, sent as fast as the socket takes it
FLOOD_COSTS_KB = 32 * 1024  # at most, in all processes; the flood itself is 38 MB at every hop
OPENED = '"type":"session"'


class Bare:
    """A caller with nothing but a socket."""

    def __init__(self, socket: ClientWebSocketResponse, session: str) -> None:
        self.socket = socket
        self.session = session
        self.heard = b""
        self.errors: list[str] = []  # what the socket reported while the call went on

    async def ask(self) -> str:
        """Say something at the pace of real time, and then silence; the text of the answer that was heard."""
        self.heard = b""
        for at in range(0, len(LOUD), CALLER_FRAME_BYTES):
            await self.socket.send_bytes(LOUD[at : at + CALLER_FRAME_BYTES])
            await asyncio.sleep(FRAME_MS / 1000)
        await self.socket.send_bytes(FRAME)
        async with asyncio.timeout(20):
            while not token_codec.decode(self.heard).endswith("."):
                message = await self.socket.receive()
                assert message.type in (WSMsgType.BINARY, WSMsgType.TEXT), "the line was cut"
                if message.type is WSMsgType.BINARY:
                    self.heard += message.data
                else:
                    self.note(message.data)
        return token_codec.decode(self.heard)

    def note(self, text: str) -> None:
        """Keep an error that does not end the call."""
        message = json.loads(text)
        if message["type"] == "error":
            assert message["final"] is False
            self.errors.append(message["message"])

    async def next_error(self) -> str:
        """The next error that the socket reports."""
        async with asyncio.timeout(10):
            while not self.errors:
                message = await self.socket.receive()
                assert message.type in (WSMsgType.BINARY, WSMsgType.TEXT), "the call was ended"
                if message.type is WSMsgType.TEXT:
                    self.note(message.data)
        return self.errors.pop(0)


async def opened(home: Platform, http: ClientSession, agent: str = "plain") -> Bare:
    await home.set(scripted_agent("plain", llm={"replies": ["I am {session}."]}))
    socket = await http.ws_connect(home.websocket, params={"agent": agent}, heartbeat=10)
    session = (await socket.receive_json(timeout=20))["session"]
    await home.events.until(session, events.SessionOpened)
    return Bare(socket, session)


async def counted(home: Platform, stage: str, reason: str) -> int:
    return sum(worker.counters.get(reason, 0) for worker in await home.workers(stage))


async def test_frames_that_are_none_are_refused_and_counted(home: Platform) -> None:
    rubbish = [b"", b"\x01", bytes(641), bytes(3_202), bytes(100_000), bytes(1_000_000)]
    before = await counted(home, subjects.INGRESS, "bad_caller_frame")
    async with ClientSession() as http:
        caller = await opened(home, http)
        for frame in rubbish:
            await caller.socket.send_bytes(frame)
        assert await caller.ask() == f"I am {caller.session}."
        assert len(caller.errors) == 1, "after the first frame, not after each"
        assert "3200 bytes" in caller.errors[0]
        await caller.socket.send_json({"type": "hangup"})
        closed = await home.events.until(caller.session, events.SessionClosed)
        await caller.socket.close()
    assert closed.reason == "hangup"
    assert await counted(home, subjects.INGRESS, "bad_caller_frame") - before == len(rubbish)


async def test_words_that_are_no_message_are_passed_over(home: Platform) -> None:
    words = [
        "", "hello", "{", "[]", '["hangup"]', "1", '"hangup"', "null", '{"type": 7}', '{"type": ["hangup"]}',
        '{"type": "sing"}', '{"no": "type"}', "[" * 10_000, "\x00", json.dumps({"type": "x" * 100_000}),
    ]  # fmt: skip
    async with ClientSession() as http:
        caller = await opened(home, http)
        for word in words:
            await caller.socket.send_str(word)
        assert await caller.ask() == f"I am {caller.session}."
        await caller.socket.close()


async def test_what_a_caller_may_not_type_is_refused_and_counted(home: Platform) -> None:
    texts = ["", "  \n ", "x" * 2_001, "bell\x07", 7, None, ["Hello."], {"text": "Hello."}]
    digits = ["", "10", "E", "a", " 1", 1, None]
    async with ClientSession() as http:
        caller = await opened(home, http)
        for text in texts:
            await caller.socket.send_json({"type": "text", "text": text})
        for _ in range(4):
            assert "1 to 2000 characters" in await caller.next_error()
        for digit in digits:
            await caller.socket.send_json({"type": "dtmf", "digit": digit})
        await caller.socket.send_json({"type": "dtmf", "digit": "#"})
        await caller.socket.send_json({"type": "text", "text": " Who\nare you? "})
        started = await home.events.until(caller.session, events.TurnStarted)
        for _ in range(1_000):
            await caller.socket.send_json({"type": "dtmf", "digit": "0"})
        await caller.socket.send_json({"type": "hangup"})
        await home.events.until(caller.session, events.SessionClosed)
        await caller.socket.close()
    assert started.text == "Who are you?"
    assert [event.text for event in home.events.of(caller.session, events.TextReceived)] == ["Who are you?"]
    pressed = [event.digit for event in home.events.of(caller.session, events.DtmfReceived)]
    assert pressed[:2] == ["#", "0"]
    assert len(pressed) < 100
    assert await counted(home, subjects.INGRESS, "bad_text") == 4, "the others are no messages of this kind"
    assert await counted(home, subjects.INGRESS, "bad_digit") == 5
    assert await counted(home, subjects.INGRESS, "keys_too_fast") > 900


async def test_text_that_is_not_utf8_ends_that_call_alone(home: Platform) -> None:
    async with ClientSession() as http:
        caller, other = await opened(home, http), await opened(home, http)
        await caller.socket._writer.send_frame(b"\xff\xfe", WSMsgType.TEXT)
        await home.events.until(caller.session, events.SessionClosed)
        await caller.socket.close()
        assert await other.ask() == f"I am {other.session}."
        await other.socket.close()


async def test_a_flood_is_survived_in_bounded_memory(home: Platform) -> None:
    async with ClientSession() as http:
        other, flooding = await opened(home, http), await opened(home, http)
        assert await flooding.ask() == f"I am {flooding.session}."
        processes = [worker.pid for worker in await home.workers()]
        before = sum(memory_kb(pid) for pid in processes)
        flood = [FRAME * 5] * (FLOOD_S * CALLER_HZ * SAMPLE_BYTES // CALLER_FRAME_BYTES // 5)
        for frame in flood:
            await flooding.socket.send_bytes(frame)
        assert await flooding.ask() == f"I am {flooding.session}."
        assert await other.ask() == f"I am {other.session}."
        assert sum(memory_kb(pid) for pid in processes) - before < FLOOD_COSTS_KB
        assert set(processes) <= set(descendants(home.up.pid))
        assert await counted(home, subjects.INGRESS, "caller_too_fast") > 0
        await other.socket.close()
        await flooding.socket.close()
        assert (await home.events.until(flooding.session, events.SessionClosed)).reason == "hangup"


async def test_a_socket_that_is_cut_ends_its_call(home: Platform) -> None:
    async with ClientSession() as http:
        caller = await opened(home, http)
        caller.socket._writer.transport.abort()
        closed = await home.events.until(caller.session, events.SessionClosed)
        await caller.socket.close()
        assert closed.reason == "caller_lost"
        assert not any(worker.sessions for worker in await home.workers())


async def test_a_caller_who_never_reads_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(websocket, "HEARTBEAT_S", 1.0)  # which is why the house is one of this process
    endless = scripted_agent("endless", greeting="Hello.", tts={"duration_ms": 60_000})
    async with open_platform(tmp_path, [endless]) as home:
        address = urlsplit(home.ingress.url)
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        key = base64.b64encode(bytes(16)).decode()
        writer.write(
            f"GET {address.path}?agent=endless HTTP/1.1\r\nHost: {address.netloc}\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        head = await reader.readuntil(b'session":"')
        assert b"101" in head
        call = await home.record((await reader.readuntil(b'"'))[:-1].decode())
        writer.transport.pause_reading()  # type: ignore[attr-defined] # from here on it never reads
        closed = await call.until(events.SessionClosed)
        assert closed.reason == "caller_lost"
        writer.transport.abort()
