"""Websockets to vendors: every way to fail becomes one error, and none hangs."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import msgspec
import pytest
from aiohttp import web

from antiphon_testing.vendors.faults import Close, Drop, Fault, HalfFrame, Refuse, SlowStart, refused, socket_channel
from antiphon_testing.vendors.local_server import local_server
from schemas.provider_keys import PrivateHosts, ProviderKeys
from stages.runtime import vendor_socket
from stages.runtime.providers import ProviderContext, ProviderError
from stages.runtime.vendor_http import open_http
from stages.runtime.vendor_socket import VendorSocket, decode, open_socket

HOMES = {"ACME_API_KEY": "https://api.acme.example"}
WITHIN_S = 30.0


class Vendor:
    """Echoes what it is sent, and plays a fault."""

    def __init__(self) -> None:
        self.fault: Fault | None = None
        self.open = 0
        self.paths: list[str] = []

    async def echo(self, request: web.Request) -> web.StreamResponse:
        self.paths.append(request.path_qs)
        if request.path == "/go":
            return web.Response(status=307, headers={"Location": "/echo"})
        if isinstance(self.fault, SlowStart):
            await asyncio.sleep(self.fault.seconds)
        if refusal := refused(request, self.fault):
            return refusal
        socket = web.WebSocketResponse(compress=False)
        await socket.prepare(request)
        self.open += 1
        try:
            async with socket_channel(request, socket, self.fault) as channel:
                async for message in socket:
                    if message.data == "bye":
                        break
                    await channel.send(message.data)
        finally:
            self.open -= 1
        return socket


@pytest.fixture
async def vendor() -> AsyncIterator[tuple[Vendor, str]]:
    one = Vendor()
    async with local_server([web.get("/{path}", one.echo)]) as where:
        yield one, f"http://{where}"


@asynccontextmanager
async def connected(
    url: str, path: str = "/echo", private: str = "loopback", within_s: float = WITHIN_S
) -> AsyncIterator[VendorSocket]:
    context = ProviderContext(ProviderKeys(), PrivateHosts.from_environment({"ANTIPHON_PRIVATE_HOSTS": private}))
    async with open_http(context, HOMES) as http:
        endpoint = await http.endpoint("ACME_API_KEY", url)
        async with open_socket(
            endpoint, "Acme", path, headers={}, query=[("a", "1"), ("a", "b c")], within_s=within_s
        ) as one:
            yield one


async def received(socket: VendorSocket) -> list[bytes | str]:
    async with asyncio.timeout(WITHIN_S):
        return [message async for message in socket.messages()]


async def test_messages_go_out_and_come_back(vendor: tuple[Vendor, str]) -> None:
    async with connected(vendor[1]) as socket:
        socket.send(b"pcm")
        socket.send("text")
        socket.send("bye", last=True)
        assert await received(socket) == [b"pcm", "text"]
    assert vendor[0].paths == ["/echo?a=1&a=b+c"]


async def test_a_close_before_the_last_message_is_a_failure(vendor: tuple[Vendor, str]) -> None:
    async with connected(vendor[1]) as socket:
        socket.send("bye")
        with pytest.raises(ProviderError, match="closed the connection: code 1000") as caught:
            await received(socket)
    assert (caught.value.kind, caught.value.retryable) == ("connection", True)


@pytest.mark.parametrize("fault", [Close(code=1005), Close(code=1006), Close(code=1011), HalfFrame()])
async def test_a_broken_connection_is_a_failure(vendor: tuple[Vendor, str], fault: Fault) -> None:
    vendor[0].fault = fault
    async with connected(vendor[1]) as socket:
        socket.send("text")
        with pytest.raises(ProviderError, match="Acme") as caught:
            await received(socket)
    assert caught.value.kind == "connection"


@pytest.mark.parametrize(
    ("fault", "kind", "retryable", "wait_s"),
    [
        (Refuse(401), "auth", False, None),
        (Refuse(429, retry_after_s=7), "quota", True, 7),
        (Refuse(500), "server", True, None),
        (Refuse(400), "bad_request", False, None),
        (Drop(), "connection", True, None),
        (SlowStart(WITHIN_S), "timeout", True, None),
    ],
)
async def test_a_refused_handshake(
    vendor: tuple[Vendor, str], fault: Fault, kind: str, retryable: bool, wait_s: float | None
) -> None:
    vendor[0].fault = fault
    with pytest.raises(ProviderError, match="Acme") as caught:
        async with connected(vendor[1], within_s=1.0):
            pass
    assert (caught.value.kind, caught.value.retryable, caught.value.retry_after_s) == (kind, retryable, wait_s)


async def test_no_redirect_is_followed(vendor: tuple[Vendor, str]) -> None:
    with pytest.raises(ProviderError, match="redirects are not followed"):
        async with connected(vendor[1], "/go"):
            pass
    assert len(vendor[0].paths) == 1


async def test_a_private_address_is_refused(vendor: tuple[Vendor, str]) -> None:
    with pytest.raises(ProviderError, match="ANTIPHON_PRIVATE_HOSTS"):
        async with connected(vendor[1], private="none"):
            pass
    assert not vendor[0].paths


async def test_a_vendor_that_does_not_read_is_a_failure(
    vendor: tuple[Vendor, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vendor_socket, "SEND_WITHIN_S", 0.2)
    vendor[0].fault = SlowStart(0)
    async with connected(vendor[1]) as socket:
        stuck: Callable[..., asyncio.Future[None]] = lambda *_: asyncio.get_running_loop().create_future()  # noqa: E731
        monkeypatch.setattr(socket._socket, "send_bytes", stuck)
        socket.send(b"pcm")
        with pytest.raises(ProviderError, match="reads too slowly"):
            await received(socket)


async def test_many_connections_leave_no_task(vendor: tuple[Vendor, str]) -> None:
    before = asyncio.all_tasks()
    for count in range(30):
        vendor[0].fault = (None, Close(code=1006), Close(code=1011))[count % 3]
        async with connected(vendor[1]) as socket:
            socket.send("text")
            if count % 3:
                with pytest.raises(ProviderError):
                    await received(socket)
    async with asyncio.timeout(WITHIN_S):
        while vendor[0].open:
            await asyncio.sleep(0.01)
    assert not {task for task in asyncio.all_tasks() - before if "Acme" in task.get_name()}


def test_a_message_of_another_protocol_is_a_failure() -> None:
    with pytest.raises(ProviderError, match="protocol"):
        decode(msgspec.json.Decoder(dict[str, int]), '{"a": "b')
