"""The transport `websocket`: `GET /v1/call?agent=A`, audio both ways as binary frames (docs/websocket.md).

The agent's audio is always 24 kHz mono: a resampler would hold its last 10 to 30 ms back, and `clear` counts what was
heard. Every player converts what it plays.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlencode

import msgspec
from aiohttp import WSCloseCode, WSMsgType, hdrs, web

from schemas.audio import AGENT_HZ, FRAME_MS
from transports.transport import CALLER_AUDIO, Answer, AudioFormat, CallerInput, Refused

PATH = "/v1/call"
HEARTBEAT_S = 10.0  # ingress notices a caller whose machine vanished after this time
MAX_WAITING = 10 * 1000 // FRAME_MS  # frames; egress is 100 ms ahead, so 10 s of frames wait only if the socket stalled
MAX_MESSAGE = 4 * 1024 * 1024  # bytes; far above any frame, so that an oversized one is counted and the call goes on
CLOSE_WITHIN_S = 1.0
LOWEST_HZ, HIGHEST_HZ = 8_000, 48_000  # of a telephone, and of what browsers record; no other rate carries more speech
MOST_CHANNELS = 2


class CallerSocket:
    """The connection of one caller: a bounded queue, in order, of the frames and messages that the socket sends."""

    def __init__(self, socket: web.WebSocketResponse) -> None:
        self._socket = socket
        self._waiting: deque[bytes | str] = deque()
        self._wake = asyncio.Event()
        self._over = False
        self.input: CallerInput | None = None

    async def ready(self) -> None:
        """Return at once: a connected caller can hear."""

    def play(self, pcm: bytes) -> None:
        """Queue 20 ms of PCM16 mono at 24 kHz; hang up if the caller has not read 10 s of them."""
        if len(self._waiting) >= MAX_WAITING and self.input:
            self.input.hang_up("caller_too_slow")
            return
        self._put(pcm)

    def clear(self) -> None:
        """Drop the queued frames, and have the caller drop those that it has received."""
        self._waiting = deque(message for message in self._waiting if isinstance(message, str))
        self._put('{"type":"clear"}')

    def refuse(self, message: str) -> None:
        self._put(msgspec.json.encode({"type": "error", "message": message, "final": False}).decode())

    def end(self, error: str = "") -> None:
        """Queue the last message: an error, or the hang-up of a call that ended in good order."""
        if error:
            self._put(msgspec.json.encode({"type": "error", "message": error}).decode())
        else:
            self._put('{"type":"hangup"}')
        self._over = True

    def open(self, caller_input: CallerInput, audio: AudioFormat) -> None:
        """Queue the first message: the session's id and the formats."""
        self.input = caller_input
        opened = {
            "type": "session",
            "session": caller_input.session,
            "input_hz": audio.hz,
            "input_channels": audio.channels,
            "output_hz": AGENT_HZ,
        }
        self._put(msgspec.json.encode(opened).decode())

    async def write(self) -> None:
        """Send from the queue until the call is over or the socket is closed."""
        try:
            while True:
                while self._waiting:
                    message = self._waiting.popleft()
                    if isinstance(message, bytes):
                        await self._socket.send_bytes(message)
                    else:
                        await self._socket.send_str(message)
                if self._over:
                    break
                self._wake.clear()
                await self._wake.wait()
            await asyncio.wait_for(self._socket.close(), CLOSE_WITHIN_S)
        except (ConnectionError, TimeoutError):  # the reader notices the same and hangs up
            pass

    def _put(self, message: bytes | str) -> None:
        if not self._over:
            self._waiting.append(message)
            self._wake.set()


@asynccontextmanager
async def serve(answer: Answer, host: str, port: int, reached_at: str = "") -> AsyncIterator[str]:
    """Accept callers at `host:port` (0 is any free port); yields the URL. Raises OSError when the port is taken.

    reached_at: the host of the URL if `host` means all addresses of this machine.
    """

    async def call(request: web.Request) -> web.WebSocketResponse:
        if hdrs.ORIGIN in request.headers and "session" not in request.query:
            raise web.HTTPForbidden(text="cannot call without a session: claim one first, as in docs/talk.md.")
        socket = web.WebSocketResponse(heartbeat=HEARTBEAT_S, max_msg_size=MAX_MESSAGE, compress=False)
        await socket.prepare(request)
        caller = CallerSocket(socket)
        writing = asyncio.create_task(caller.write())
        try:
            query = request.query
            audio = _audio_format(query.get("rate"), query.get("channels"))
            caller_input = await answer(query.get("agent", ""), query.get("session"), "websocket", caller, audio)
            caller.open(caller_input, audio)
            await _receive(socket, caller_input)
        except Refused as refused:
            caller.end(str(refused))
            await asyncio.wait([writing], timeout=2 * CLOSE_WITHIN_S)
        finally:
            if caller.input:
                lost = socket.close_code == WSCloseCode.ABNORMAL_CLOSURE  # the caller sent no close frame
                caller.input.hang_up("caller_lost" if lost else "hangup")
            writing.cancel()
        return socket

    application = web.Application()
    application.router.add_get(PATH, call)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=CLOSE_WITHIN_S)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port)
        await site.start()
        yield f"ws://{netloc(reached_at or host, runner.addresses[0][1])}{PATH}"
    finally:
        await runner.cleanup()


def netloc(host: str, port: int) -> str:
    """Return `host:port` as it stands in a URL (RFC 3986): an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def call_url(url: str, agent: str, session: str) -> str:
    """Return the URL at which a caller connects to an offered session."""
    return f"{url}?{urlencode({'agent': agent, 'session': session})}"


def _audio_format(rate: str | None, channels: str | None) -> AudioFormat:
    """Return the format that the URL names. Raises Refused for one that ingress does not convert."""
    return AudioFormat(
        _number("rate", rate, CALLER_AUDIO.hz, LOWEST_HZ, HIGHEST_HZ),
        _number("channels", channels, CALLER_AUDIO.channels, 1, MOST_CHANNELS),
    )


def _number(name: str, text: str | None, default: int, lowest: int, highest: int) -> int:
    if text is None:
        return default
    if text.isascii() and text.isdigit() and len(text) <= len(str(highest)) and lowest <= int(text) <= highest:
        return int(text)
    raise Refused(
        f"cannot take the call: {name}={text[:20]!r} in the URL. Give a whole number from {lowest} to {highest}."
    )


async def _receive(socket: web.WebSocketResponse, caller_input: CallerInput) -> None:
    async for message in socket:
        if message.type is WSMsgType.BINARY:
            caller_input.audio(message.data)
        elif message.type is WSMsgType.TEXT:
            match _object(message.data):
                case {"type": "text", "text": str(text)}:
                    caller_input.text(text)
                case {"type": "dtmf", "digit": str(digit)}:
                    caller_input.dtmf(digit)
                case {"type": "hangup"}:
                    caller_input.hang_up("hangup")
                    await socket.close(code=WSCloseCode.OK)


def _object(text: str) -> object:
    try:
        return msgspec.json.decode(text)
    except (msgspec.MsgspecError, RecursionError):  # the second: nested without end
        return None
