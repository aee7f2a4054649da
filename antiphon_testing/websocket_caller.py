"""A caller on a websocket (docs/websocket.md): speaks at real-time pace, hears through a playout clock."""

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
from yarl import URL

from antiphon_testing.echo_path import EchoPath
from antiphon_testing.playout import Playout
from antiphon_testing.recording import Recording
from schemas.audio import AGENT_HZ, CALLER_FRAME_BYTES, CALLER_HZ, FRAME_MS, SAMPLE_BYTES

CONNECT_WITHIN_S = 5.0
HELLO_WITHIN_S = 10.0  # ingress claims four stages and opens their providers before its first message
SEND_WITHIN_S = 5.0  # the connection is lost if the network takes no frame for so long
CLOSE_WITHIN_S = 2.0
HEARTBEAT_S = 10.0  # between pings; the connection is lost if one is not answered
MAX_MESSAGE_BYTES = 64 * 1024
FRAME_S = FRAME_MS / 1000
LOST = "the connection was lost"


class CallFailed(Exception):
    """Raised when a call cannot begin. The text is one line with the cause."""


class Caller:
    """The caller's end of a call, opened by `dial`.

    over: set when ingress has hung up or the connection is lost. problem: why, "" after a hang-up.
    sent: samples of the caller's audio that went out.
    """

    def __init__(
        self,
        socket: aiohttp.ClientWebSocketResponse,
        session: str,
        recording: Recording | None,
        echo: EchoPath | None = None,
    ) -> None:
        self.session = session
        self.over = asyncio.Event()
        self.problem = ""
        self.sent = 0
        self._socket = socket
        self._recording = recording
        self._ear = Playout()
        self._echo = echo
        self._words: deque[memoryview] = deque()
        self._began = asyncio.get_running_loop().time()

    def say(self, pcm: bytes) -> None:
        """Speak PCM16 mono at 16 kHz after all that was given before."""
        self._words.append(memoryview(pcm))

    @property
    def saying(self) -> bool:
        """Return whether audio of `say` has not gone out yet."""
        return bool(self._words)

    @property
    def hearing(self) -> bool:
        """Return whether audio of the agent waits to be heard."""
        return self._ear.ahead > 0

    async def hang_up(self) -> None:
        """End the call; harmless after its end."""
        if not self.over.is_set():
            try:
                async with asyncio.timeout(SEND_WITHIN_S):
                    await self._socket.send_json({"type": "hangup"})
            except (ConnectionError, TimeoutError, aiohttp.ClientError):
                pass
            self._end("")

    async def speak(self) -> None:
        """Send frames at real-time pace: frame k goes out k + 1 frames after the beginning, without drift."""
        loop = asyncio.get_running_loop()
        try:
            while not self.over.is_set():
                frame = self._next_frame()
                spoken = self._began + (self.sent * SAMPLE_BYTES // CALLER_FRAME_BYTES + 1) * FRAME_S
                await asyncio.sleep(max(0.0, spoken - loop.time()))
                async with asyncio.timeout(SEND_WITHIN_S):
                    await self._socket.send_bytes(frame)
                self.sent += len(frame) // SAMPLE_BYTES
                self._record(frame)
        except (ConnectionError, TimeoutError, aiohttp.ClientError):
            pass
        finally:
            self._end(LOST)

    async def hear(self) -> None:
        """Receive audio and messages until the connection ends; the socket's heartbeat is the deadline."""
        try:
            async for message in self._socket:
                if message.type is aiohttp.WSMsgType.BINARY:
                    self._ear.play(message.data, self._now())
                elif message.type is aiohttp.WSMsgType.TEXT:
                    self._on_message(_parse(message.data))
        except (ConnectionError, aiohttp.ClientError):  # a ping of the server came while the socket closed
            pass
        finally:
            self._end(LOST)

    def _on_message(self, message: dict[str, Any]) -> None:
        match message.get("type"):
            case "clear":
                self._ear.clear(self._now())
            case "hangup":
                self._end("")
            case "error" if message.get("final", True):
                self._end(str(message.get("message", "ingress gave no reason")))
            case _:  # a later version of the protocol may send others
                pass

    def _end(self, problem: str) -> None:
        if not self.over.is_set():
            self.problem = problem
            self.over.set()

    def _now(self) -> int:
        """Return the position on the agent's line: samples since the caller's first one."""
        return int((asyncio.get_running_loop().time() - self._began) * AGENT_HZ)

    def _next_frame(self) -> bytes:
        frame = b""
        while self._words and len(frame) < CALLER_FRAME_BYTES:
            words = self._words.popleft()
            missing = CALLER_FRAME_BYTES - len(frame)
            frame += words[:missing]
            if rest := words[missing:]:
                self._words.appendleft(rest)
        frame = frame.ljust(CALLER_FRAME_BYTES, b"\x00")
        return self._echo.mix(frame) if self._echo else frame

    def _record(self, frame: bytes) -> None:
        for heard in self._ear.take(self.sent * AGENT_HZ // CALLER_HZ):
            if self._echo:
                self._echo.hear(heard)
            if self._recording:
                self._recording.heard(heard)
        if self._recording:
            self._recording.sent(frame)


@asynccontextmanager
async def dial(
    url: str,
    agent: str,
    session: str | None = None,
    recording: Recording | None = None,
    echo: EchoPath | None = None,
) -> AsyncIterator[Caller]:
    """Call an agent; yields the caller when the session is open, and hangs up. Raises CallFailed.

    url: `ws://host:port/v1/call`. session: an id that ingress offered. recording: keeps both lines.
    echo: brings the agent's sound back into the caller's microphone.
    """
    address = URL(url).update_query({"agent": agent, **({"session": session} if session else {})})
    async with aiohttp.ClientSession() as http:
        socket = await _connect(http, address)
        try:
            caller = Caller(socket, await _hello(socket), recording, echo)
            halves = [asyncio.create_task(caller.speak()), asyncio.create_task(caller.hear())]
            try:
                yield caller
            finally:
                await caller.hang_up()
                await _close(socket)
                await asyncio.gather(
                    *halves
                )  # both end with the socket; a task group would wrap exceptions of the caller
        finally:
            await _close(socket)


async def _close(socket: aiohttp.ClientWebSocketResponse) -> None:
    try:
        async with asyncio.timeout(CLOSE_WITHIN_S):
            await socket.close()
    except TimeoutError:
        pass


async def _connect(http: aiohttp.ClientSession, address: URL) -> aiohttp.ClientWebSocketResponse:
    where = address.with_query(None)
    try:
        async with asyncio.timeout(CONNECT_WITHIN_S):
            return await http.ws_connect(address, heartbeat=HEARTBEAT_S, max_msg_size=MAX_MESSAGE_BYTES)
    except aiohttp.WSServerHandshakeError as error:
        raise CallFailed(f"cannot call {where}: HTTP {error.status} {error.message}") from None
    except TimeoutError:
        raise CallFailed(
            f"cannot call {where}: no answer within {CONNECT_WITHIN_S:.0f} s. Is `antiphon up` running?"
        ) from None
    except (aiohttp.ClientError, OSError, ValueError) as error:
        raise CallFailed(f"cannot call {where}: {error}") from None


async def _hello(socket: aiohttp.ClientWebSocketResponse) -> str:
    """Return the session id in the first message of ingress. Raises CallFailed."""
    try:
        async with asyncio.timeout(HELLO_WITHIN_S):
            message = await socket.receive()
    except TimeoutError:
        waited = f"{HELLO_WITHIN_S:.0f} s"
        raise CallFailed(f"the call was not answered within {waited}: `antiphon ps` shows the workers") from None
    if message.type is not aiohttp.WSMsgType.TEXT:
        raise CallFailed("the call was not answered: ingress hung up")
    first = _parse(message.data)
    if first.get("type") == "error":
        raise CallFailed(str(first.get("message", "ingress gave no reason")))
    rates = (first.get("input_hz"), first.get("output_hz"))
    if first.get("type") != "session" or rates != (CALLER_HZ, AGENT_HZ):
        raise CallFailed("cannot call this URL: its server does not speak this protocol. Is it an Antiphon ingress?")
    return str(first.get("session", ""))


def _parse(text: str) -> dict[str, Any]:
    try:
        message = json.loads(text)
    except ValueError:
        return {}
    return message if isinstance(message, dict) else {}
