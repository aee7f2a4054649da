"""Each fault of a stand-in, as a client sees it over HTTP and over a websocket."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp
import pytest
from aiohttp import WSMsgType, web

from antiphon_testing.vendors.faults import (
    Close,
    Drop,
    Fault,
    Faults,
    Garbage,
    HalfFrame,
    Refuse,
    SlowStart,
    Stall,
    Wrong,
    http_channel,
    refused,
    socket_channel,
)
from antiphon_testing.vendors.local_server import local_server

MESSAGES = ("message 0\n", "message 1\n", "message 2\n")
WITHIN_S = 30.0
STALLED_S = 0.2  # nothing comes for so long: a stall, as far as a test can wait


@dataclass
class Vendor:
    faults: Faults = field(default_factory=Faults)

    async def stream(self, request: web.Request) -> web.StreamResponse:
        fault = self.faults.take()
        if refusal := refused(request, fault, b'{"error": "no"}'):
            return refusal
        async with http_channel(request, fault, "text/plain") as channel:
            for message in MESSAGES:
                await channel.send(message)
        return channel.response

    async def socket(self, request: web.Request) -> web.StreamResponse:
        fault = self.faults.take()
        if refusal := refused(request, fault):
            return refusal
        socket = web.WebSocketResponse(compress=False)
        await socket.prepare(request)
        async with socket_channel(request, socket, fault) as channel:
            for message in MESSAGES:
                await channel.send(message)
            await socket.close()
        return socket


@asynccontextmanager
async def vendor(*faults: Fault | None) -> AsyncIterator[tuple[aiohttp.ClientSession, str]]:
    running = Vendor()
    running.faults.queue(*faults)
    routes = [web.get("/stream", running.stream), web.get("/socket", running.socket)]
    async with (
        local_server(routes) as address,
        aiohttp.ClientSession(f"http://{address}") as http,
        asyncio.timeout(WITHIN_S),
    ):
        yield http, address


async def read(response: aiohttp.ClientResponse) -> tuple[bytes, str]:
    """Return what came, and how it ended."""
    received = b""
    try:
        while True:
            async with asyncio.timeout(STALLED_S):
                piece = await response.content.readany()
            if not piece:
                return received, "end"
            received += piece
    except TimeoutError:
        return received, "stall"
    except aiohttp.ClientError:
        return received, "broken"


@pytest.mark.parametrize(
    ("fault", "received", "ended"),
    [
        (None, b"message 0\nmessage 1\nmessage 2\n", "end"),
        (SlowStart(0.01), b"message 0\nmessage 1\nmessage 2\n", "end"),
        (Wrong("rate"), b"message 0\nmessage 1\nmessage 2\n", "end"),
        (Stall(2), b"message 0\nmessage 1\n", "stall"),
        (Close(1), b"message 0\n", "broken"),
        (Close(1, 1011), b"message 0\n", "end"),
        (HalfFrame(1), b"message 0\nmessa", "broken"),
        (Garbage(1), b"message 0\n\x00\xef\xbf\xbd}garbage{\xef\xbf\xbdmessage 1\nmessage 2\n", "end"),
    ],
)
async def test_a_fault_of_an_http_stream(fault: Fault | None, received: bytes, ended: str) -> None:
    async with vendor(fault) as (http, _), http.get("/stream") as response:
        assert await read(response) == (received, ended)


async def test_a_refusal_has_status_headers_and_the_body_of_the_vendor() -> None:
    async with vendor(Refuse(429, retry_after_s=2, headers=(("X-Request", "r1"),)), None) as (http, _):
        async with http.get("/stream") as response:
            assert (response.status, response.headers["Retry-After"], response.headers["X-Request"]) == (429, "2", "r1")
            assert await response.json() == {"error": "no"}
        async with http.get("/stream") as response:
            assert response.status == 200


@pytest.mark.parametrize("path", ["/stream", "/socket"])
async def test_a_dropped_connection_has_no_answer(path: str) -> None:
    async with vendor(Drop(), Drop()) as (http, _):  # aiohttp sends a GET again, once
        with pytest.raises(aiohttp.ClientConnectionError):
            await http.get(path)


async def test_a_websocket_is_refused_in_its_handshake() -> None:
    async with vendor(Refuse(401)) as (http, _):
        with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
            await http.ws_connect("/socket")
        assert caught.value.status == 401


@pytest.mark.parametrize(
    ("fault", "messages", "code"),
    [
        (None, 3, 1000),
        (Close(1, 1000), 1, 1000),
        (Close(1, 1011), 1, 1011),
        (Close(1, 1005), 1, 1006),  # aiohttp knows no 1005: a close frame without a code is a lost connection to it
        (Close(1, 1006), 1, 1006),
        (HalfFrame(1), 1, 1006),
        (Garbage(1), 4, 1000),
    ],
)
async def test_a_fault_of_a_websocket(fault: Fault | None, messages: int, code: int) -> None:
    async with vendor(fault) as (http, _), http.ws_connect("/socket") as socket:
        received = [message async for message in socket if message.type in (WSMsgType.TEXT, WSMsgType.BINARY)]
        assert len(received) == messages
        assert socket.close_code == code


async def test_a_stalled_websocket_stays_open() -> None:
    async with vendor(Stall(1)) as (http, _), http.ws_connect("/socket") as socket:
        assert (await socket.receive()).data == MESSAGES[0]
        with pytest.raises(TimeoutError):
            await socket.receive(timeout=STALLED_S)


def test_the_queue_comes_before_the_standing_fault() -> None:
    faults = Faults()
    assert faults.take() is None
    faults.standing = Drop()
    faults.queue(Stall(1), None)
    assert [faults.take() for _ in range(4)] == [Stall(1), None, Drop(), Drop()]
