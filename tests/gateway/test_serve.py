"""The gateway as a browser sees it, and as somebody else's page does."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import pytest
import pytest_asyncio
from aiohttp import ClientSession, ClientWebSocketResponse, WSMsgType, WSServerHandshakeError
from aiohttp.client import ClientResponse

from antiphon_testing.agents import scripted_agent
from antiphon_testing.platform import Platform, open_platform
from config_service.client import ConfigClient
from gateway import relay, sessions
from gateway.serve import serve
from schemas.config import AgentLine
from schemas.events import SessionClosed, SessionOpened
from stages.tts import token_codec

pytestmark = pytest.mark.asyncio(loop_scope="module")
ECHO = scripted_agent("echo", llm={"replies": ["You said {text}"]})
WITHIN_S = 20.0


class Desk:
    """A house behind a gateway, and who asks it."""

    def __init__(self, home: Platform, url: str, http: ClientSession) -> None:
        self.home = home
        self.url = url
        self.http = http

    async def open(self, agent: str = "echo", **more: Any) -> dict[str, str]:
        async with self.http.post(f"{self.url}v1/sessions", json={"agent": agent, **more}) as answer:
            return {"status": str(answer.status), **await answer.json()}

    async def call(self, opened: dict[str, str]) -> ClientWebSocketResponse:
        return await self.http.ws_connect(self.url[:-1] + opened["url"])

    async def events(self, opened: dict[str, str]) -> ClientResponse:
        return await self.http.get(self.url[:-1] + opened["events"])


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def desk(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Desk]:
    async with (
        open_platform(tmp_path_factory.mktemp("house"), [ECHO]) as home,
        serve(home.bus, "127.0.0.1", 0, ["talk.example"], "ws://rooms.example:7880") as url,
        ClientSession() as http,
    ):
        yield Desk(home, url, http)


async def messages(stream: ClientResponse) -> AsyncIterator[tuple[str, Any]]:
    """(kind, data) of each server-sent event."""
    kind = "message"
    async for line in stream.content:
        name, _, value = line.decode().rstrip("\n").partition(": ")
        if name == "event":
            kind = value
        elif name == "data":
            yield kind, json.loads(value)
            kind = "message"


async def test_a_page_calls_types_hears_and_follows(desk: Desk) -> None:
    opened = await desk.open()
    assert opened["status"] == "201"
    line, stream = await desk.call(opened), await desk.events(opened)
    assert stream.headers["Content-Type"].startswith("text/event-stream")
    await line.send_json({"type": "text", "text": "hello"})
    heard = b""
    async with asyncio.timeout(WITHIN_S):
        while token_codec.decode(heard) != "You said hello":
            message = await line.receive()
            assert message.type in (WSMsgType.BINARY, WSMsgType.TEXT)
            heard += message.data if message.type is WSMsgType.BINARY else b""
    await line.send_json({"type": "hangup"})
    async with asyncio.timeout(WITHIN_S):
        told = [entry async for entry in messages(stream)]
    names = [entry["event"]["event"] for kind, entry in told if kind == "message"]
    assert names[0] == "ingress.session_opened"
    assert names[-1] == "ingress.session_closed"
    assert "ingress.text_received" in names
    assert told[-1] == ("over", {})
    await line.close()


async def test_a_session_ends_when_its_page_asks_for_it(desk: Desk) -> None:
    opened = await desk.open()
    heard = await desk.home.record(opened["session"])
    line = await desk.call(opened)
    await heard.until(SessionOpened)
    async with desk.http.delete(f"{desk.url[:-1]}{opened['hangup']}") as answer:
        assert answer.status == 204
    assert (await heard.until(SessionClosed)).reason == "hangup"
    async with desk.http.delete(f"{desk.url[:-1]}{opened['hangup']}") as again:
        assert again.status in (204, 404)
    await line.close()


async def test_who_hangs_up_before_anybody_answered_is_heard_all_the_same(desk: Desk) -> None:
    opened = await desk.open()
    heard = await desk.home.record(opened["session"])
    asking = asyncio.create_task(desk.http.delete(f"{desk.url[:-1]}{opened['hangup']}"))
    await asyncio.sleep(0)
    line = await desk.call(opened)
    assert (await asking).status == 204
    assert (await heard.until(SessionClosed)).reason == "hangup"
    await line.close()


@pytest.mark.parametrize("how", ["broke off", "fell silent"])
async def test_a_caller_who_vanishes_behind_the_gateway_has_not_hung_up(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setattr(relay, "HEARTBEAT_S", 0.5)
    opened = await desk.open()
    heard = await desk.home.record(opened["session"])
    reader, writer = await asyncio.open_connection("127.0.0.1", urlsplit(desk.url).port)  # it answers no ping
    writer.write(HANDSHAKE.format(path=opened["url"]).encode())
    assert (await reader.readline()).split()[1] == b"101"
    await heard.until(SessionOpened)
    if how == "broke off":
        writer.transport.abort()
    assert (await heard.until(SessionClosed)).reason == "caller_lost"
    writer.close()


HANDSHAKE = (
    "GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)


async def test_a_session_opens_its_door_to_nobody_else(desk: Desk) -> None:
    opened = await desk.open()
    session = opened["session"]
    for token in ("", "x", opened["events"].partition("token=")[2][:-1]):
        answer = await desk.http.get(f"{desk.url}v1/sessions/{session}/events?token={token}")
        assert answer.status == 404
        async with desk.http.delete(f"{desk.url}v1/sessions/{session}?token={token}") as refusal:
            assert refusal.status == 404
        with pytest.raises(WSServerHandshakeError) as refused:
            await desk.http.ws_connect(f"{desk.url}v1/call?session={session}&token={token}")
        assert refused.value.status == 404


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "evil.example"}, 421),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Host": "talk.example", "Origin": "https://talk.example"}, 201),
        ({"Host": "talk.example", "Origin": "https://evil.example"}, 403),
        ({"Content-Type": "text/plain"}, 415),
        ({}, 201),
    ],
)
async def test_other_peoples_pages_get_nothing(desk: Desk, headers: dict[str, str], status: int) -> None:
    sent = {"Content-Type": "application/json", **headers}
    async with desk.http.post(f"{desk.url}v1/sessions", data=b'{"agent": "echo"}', headers=sent) as answer:
        assert answer.status == status
        assert "Access-Control-Allow-Origin" not in answer.headers
        assert "script-src 'self'" in answer.headers["Content-Security-Policy"]
        assert answer.headers["X-Content-Type-Options"] == "nosniff"


async def test_another_page_cannot_take_the_line(desk: Desk) -> None:
    opened = await desk.open()
    with pytest.raises(WSServerHandshakeError) as refused:
        await desk.http.ws_connect(desk.url[:-1] + opened["url"], headers={"Origin": "http://evil.example"})
    assert refused.value.status == 403


async def test_ingress_believes_no_page_that_comes_without_a_claimed_line(desk: Desk) -> None:
    with pytest.raises(WSServerHandshakeError) as refused:
        await desk.http.ws_connect(f"{desk.home.ingress.url}?agent=echo", headers={"Origin": "http://evil.example"})
    assert refused.value.status == 403


@pytest.mark.parametrize(
    "body",
    [b"", b"{}", b"[]", b'{"agent": 1}', b'{"agent": "echo", "transport": "null"}', b'{"agent": "e", "x": 1}',
     b"[" * 9_999, b'{"agent": "../x"}', b'{"agent": "' + b"e" * 99 + b'"}', b"\xff"],
)  # fmt: skip
async def test_a_body_that_is_none_is_refused_in_words(desk: Desk, body: bytes) -> None:
    async with desk.http.post(
        f"{desk.url}v1/sessions", data=body, headers={"Content-Type": "application/json"}
    ) as answer:
        assert answer.status == 400
        assert (await answer.json())["error"]


async def test_what_cannot_be_served_says_why(desk: Desk) -> None:
    unknown = await desk.open("nobody")
    assert unknown["status"] == "404"
    assert "nobody" in unknown["error"]
    room = await desk.open(transport="livekit")
    assert room["status"] == "503"
    assert "rooms" in room["error"]
    for path, status in (("nothing.js", 404), ("../serve.py", 404), ("%2e%2e/serve.py", 404), ("v1/nothing", 404)):
        async with desk.http.get(f"{desk.url}{path}") as answer:
            assert answer.status == status, path
    async with desk.http.post(f"{desk.url}v1/sessions", data=b"x" * 70_000) as answer:
        assert answer.status in (413, 415)
    async with desk.http.post(f"{desk.url}livekit/webhook", data=b"{}") as answer:
        assert answer.status == 503


async def test_agents_are_listed(desk: Desk) -> None:
    async with desk.http.get(f"{desk.url}v1/agents") as answer:
        listed = await answer.json()
    assert listed["agents"] == ["default", "echo"]
    assert listed["details"]["echo"] == {"name": "echo", "description": ""}


async def test_agents_are_listed_with_their_names(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    named = AgentLine("clinic", 1, name="Northside Clinic", description="Books appointments.")

    async def listing(_client: ConfigClient) -> list[AgentLine]:
        return [named, AgentLine("echo", 1)]

    monkeypatch.setattr(ConfigClient, "list", listing)
    async with desk.http.get(f"{desk.url}v1/agents") as answer:
        assert (await answer.json())["details"] == {
            "clinic": {"name": "Northside Clinic", "description": "Books appointments."},
            "echo": {"name": "echo", "description": ""},
        }


async def test_what_the_browser_has_is_not_sent_again(desk: Desk) -> None:
    async with desk.http.get(desk.url) as first:
        assert "<h1" in await first.text()
    async with desk.http.get(desk.url, headers={"If-None-Match": first.headers["ETag"]}) as again:
        assert again.status == 304


async def test_a_line_nobody_called_is_forgotten(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "OPENED_WITHIN_S", 0.0)
    opened = await desk.open()
    async with asyncio.timeout(WITHIN_S):
        while (await desk.events(opened)).status != 404:
            await asyncio.sleep(0.1)


async def test_a_gateway_takes_so_many_calls_and_no_more(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "MAX_CALLS", 0)
    assert (await desk.open())["status"] == "503"
