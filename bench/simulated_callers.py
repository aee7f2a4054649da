"""Run callers at websockets in one process of their own, which is not counted to Antiphon.

They speak as the caller of the `null` transport does, and note when each answer begins to arrive.
"""

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import aiohttp
import msgspec

from antiphon_testing.caller_pattern import CallerPattern, frames
from cli import processes
from schemas.audio import FRAME_MS

PAUSE_S = 0.2  # without audio: the next audio is another answer; answers are further apart in every load
ENDS_WITHIN_S = 10.0


class Dial(msgspec.Struct):
    """A request for one call: its URL and its pattern."""

    url: str
    pattern: CallerPattern


class Arrivals(msgspec.Struct):
    """The result of a call. times: when its answers began to arrive, UTC microseconds."""

    session: str
    times: list[int]


# --- in the bench -----------------------------------------------------------------------------------------------------


class Callers:
    """The process of the callers, and its results so far."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.pid = process.pid
        self.arrivals: dict[str, list[int]] = {}
        self._process = process

    def dial(self, url: str, pattern: CallerPattern) -> None:
        """Begin one more call."""
        assert self._process.stdin
        self._process.stdin.write(msgspec.json.encode(Dial(url, pattern)) + b"\n")

    async def follow(self) -> None:
        """Collect the results until the process ends."""
        assert self._process.stdout
        async for line in self._process.stdout:
            told = msgspec.json.decode(line, type=Arrivals)
            self.arrivals[told.session] = told.times


@asynccontextmanager
async def callers() -> AsyncIterator[Callers]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench.simulated_callers", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    made = Callers(process)
    following = asyncio.create_task(made.follow())
    try:
        yield made
    finally:
        assert process.stdin
        process.stdin.close()
        await asyncio.wait_for(following, ENDS_WITHIN_S)
        await process.wait()


# --- the process ------------------------------------------------------------------------------------------------------


async def call(http: aiohttp.ClientSession, dial: Dial) -> None:
    """Make one call from the first frame to the hang-up, at real-time pace; print its result."""
    async with http.ws_connect(dial.url) as socket:
        session = str(json.loads(await socket.receive_str()).get("session", ""))
        times: list[int] = []
        listening = asyncio.create_task(listen(socket, times))
        began = time.monotonic()
        with suppress(ConnectionError):
            for number, frame in enumerate(frames(dial.pattern), start=1):
                await asyncio.sleep(began + number * FRAME_MS / 1000 - time.monotonic())
                await socket.send_bytes(frame)
            await socket.send_json({"type": "hangup"})
        await listening
    print(msgspec.json.encode(Arrivals(session, times)).decode(), flush=True)


async def listen(socket: aiohttp.ClientWebSocketResponse, times: list[int]) -> None:
    """Note the first audio after each pause until ingress closes."""
    last = 0.0
    async for message in socket:
        if message.type is aiohttp.WSMsgType.BINARY:
            now = time.monotonic()
            if now - last > PAUSE_S:
                times.append(time.time_ns() // 1_000)
            last = now


async def serve() -> None:
    """Make the calls that standard input asks for, until it closes."""
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    async with aiohttp.ClientSession() as http, asyncio.TaskGroup() as calls:
        async for line in reader:
            calls.create_task(call(http, msgspec.json.decode(line, type=Dial)))


if __name__ == "__main__":
    processes.run(serve())
