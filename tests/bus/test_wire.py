"""The short way past nats-py: nothing is lost, split, overtaken or held up by it, whatever the network does."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from nats.aio.client import Client
from structlog.testing import capture_logs

from antiphon_testing.bus import WITHIN_S, until
from bus import kv, services
from bus.connect import Bus, connect
from bus.message import Message
from bus.settings import BusSettings
from bus.wire import Wire
from tests.bus.test_connect import Ear
from tests.bus.test_security import certificate, guarded

TRACE = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
TRICKY = [b"", b"\r\n", b"MSG a 1 5\r\nhello\r\n", b"PING\r\n", b"-ERR 'x'\r\n", bytes(range(256)), b"H" * 70_000]


@pytest.fixture
def no_long_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on nats-py handles no message of any subscription."""

    async def refuse(_client: Client, _number: int, subject: bytes, *_rest: object) -> None:
        raise AssertionError(f"{subject!r} took the long way")

    monkeypatch.setattr(Client, "_process_msg", refuse)


class Proxy:
    """Between a client and its server: passes bytes on in pieces of `piece`, or cuts everybody off."""

    def __init__(self, piece: int) -> None:
        self.piece = piece
        self.writers: set[asyncio.StreamWriter] = set()

    async def carry(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await source.read(65_536):
                for start in range(0, len(data), self.piece):
                    sink.write(data[start : start + self.piece])
                    await asyncio.sleep(0)
                await sink.drain()
        sink.close()

    def cut(self) -> None:
        for writer in self.writers:
            writer.transport.abort()
        self.writers.clear()


@asynccontextmanager
async def proxied(nats: str, piece: int) -> AsyncIterator[tuple[Proxy, str]]:
    where = urlsplit(nats)
    proxy = Proxy(piece)

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        up_reader, up_writer = await asyncio.open_connection(where.hostname, where.port)
        proxy.writers |= {writer, up_writer}
        await asyncio.gather(proxy.carry(reader, up_writer), proxy.carry(up_reader, writer))

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield proxy, f"nats://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        proxy.cut()
        server.close()


async def test_messages_of_plain_callbacks_do_not_pass_through_nats_py(bus: Bus, no_long_way: None) -> None:
    ear, media = Ear(), Ear()
    await bus.subscribe("story.*", ear)
    await bus.subscribe_media("media.*", media)
    await bus.flush()
    bus.publish("story.told", b"plain")
    bus.publish("story.told", b"with an id", "somewhere", {"Nats-Msg-Id": "s-llm-1-0"})
    bus.publish_media("media.w1", b"frame")
    assert await ear.hears(b"with an id") == [b"plain", b"with an id"]
    assert await media.hears(b"frame") == [b"frame"]


@pytest.mark.parametrize("piece", [1, 2, 7, 1_000])
async def test_however_the_network_cuts_it_a_message_arrives_whole(nats: str, piece: int) -> None:
    async with proxied(nats, piece) as (_, url), connect(BusSettings(url=url)) as ours:
        heard: list[tuple[str, bytes, str]] = []
        await ours.subscribe("story.>", lambda message: heard.append((message.subject, message.data, message.reply)))
        await ours.flush()
        expected = []
        for number, data in enumerate(TRICKY if piece > 2 else TRICKY[:-1]):
            ours.publish(f"story.{number}", data)
            ours.publish(f"story.{number}.id", data, f"reply.{number}", {"Nats-Msg-Id": str(number)})
            expected += [(f"story.{number}", data, ""), (f"story.{number}.id", data, f"reply.{number}")]
        await until(lambda: len(heard) >= len(expected))
        assert heard == expected


async def test_headers_arrive_on_the_short_way_and_without_them_there_is_none(bus: Bus, no_long_way: None) -> None:
    received: list[Message] = []
    await bus.subscribe("story", received.append)
    bus.publish("story", b"traced", headers=TRACE)
    bus.publish("story", b"plain")
    await until(lambda: len(received) == 2)
    assert [(message.data, message.headers) for message in received] == [(b"traced", TRACE), (b"plain", None)]


async def test_headers_arrive_on_the_long_way(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    received: list[Message] = []
    monkeypatch.setattr(Wire, "_caught_up", lambda _wire: False)
    async with connect(BusSettings(url=f"nats://{bus.server.partition(',')[0]}")) as theirs:
        await theirs.subscribe("story", received.append)
        await theirs.flush()
        bus.publish("story", b"traced", headers=TRACE)
        bus.publish("story", b"plain")
        await until(lambda: len(received) == 2)
    assert [(message.data, message.headers) for message in received] == [(b"traced", TRACE), (b"plain", None)]


async def test_a_request_carries_its_headers(bus: Bus) -> None:
    async def answer(message: Message) -> bytes:
        return (message.headers or {}).get("traceparent", "none").encode()

    def reply(message: Message) -> None:
        bus.publish(message.reply, (message.headers or {}).get("traceparent", "none").encode())

    await bus.subscribe("echo", reply)
    async with await services.serve(bus, "tracing", {"trace": ("va1.trace", answer)}):
        for subject in ("echo", "va1.trace"):
            assert await bus.request(subject, b"", WITHIN_S, TRACE) == TRACE["traceparent"].encode()
            assert await bus.request(subject, b"", WITHIN_S) == b"none"


async def test_what_nats_py_asks_for_itself_still_reaches_it(bus: Bus) -> None:
    ear = Ear()
    await bus.subscribe("story.told", ear)
    await bus.subscribe("echo", lambda message: bus.publish(message.reply, message.data[::-1]))
    bucket = await kv.bucket(bus, "things", create=True)
    for number in range(20):
        word = str(number).encode()
        bus.publish("story.told", word)
        assert await bucket.replace("a", word, number)  # revisions count from 1
        assert await bucket.get("a") == word
        assert await bus.request("echo", word + b"!", WITHIN_S) == b"!" + word[::-1]
    assert await ear.hears(b"19") == [str(number).encode() for number in range(20)]


async def test_when_the_line_is_cut_again_and_again_no_message_overtakes_another(bus: Bus, nats: str) -> None:
    async with proxied(nats, 65_536) as (proxy, url), connect(BusSettings(url=url)) as theirs:
        heard: list[int] = []
        await theirs.subscribe("count", lambda message: heard.append(int(message.data)))
        await theirs.flush()
        number = 0
        for cuts in range(1, 6):
            for _ in range(50):
                bus.publish("count", str(number).encode())
                number += 1
                await asyncio.sleep(0)
            proxy.cut()
            async with asyncio.timeout(WITHIN_S):
                while theirs.reconnects < cuts:
                    bus.publish("count", str(number).encode())
                    number += 1
                    await asyncio.sleep(0.001)
        since = number
        async with asyncio.timeout(WITHIN_S):
            while heard[-1] < since:  # what is said before the line that is back has subscribed again is for nobody
                bus.publish("count", str(number).encode())
                number += 1
                await asyncio.sleep(0.001)
        assert heard == sorted(set(heard))


async def test_facts_said_while_the_server_is_away_keep_their_order(bus: Bus, nats: str) -> None:
    ear = Ear()
    await bus.subscribe("story", ear)
    await bus.flush()
    async with proxied(nats, 65_536) as (proxy, url), connect(BusSettings(url=url)) as theirs:
        theirs.publish("story", b"0")
        await ear.hears(b"0")
        proxy.cut()
        await until(lambda: not theirs.connected or theirs.reconnects > 0)  # it may be back within a look
        said = [str(number).encode() for number in range(1, 200)]
        for word in said[:150]:
            theirs.publish("story", word)
        await until(lambda: theirs.connected)
        for word in said[150:]:  # some while what waited is still being sent
            theirs.publish("story", word)
        assert await ear.hears(said[-1]) == [b"0", *said]


async def test_a_callback_that_fails_fails_alone(bus: Bus) -> None:
    def fail(message: Message) -> None:
        raise ValueError(message.data.decode())

    ear = Ear()
    await bus.subscribe("story", fail)
    await bus.subscribe("story", ear)
    with capture_logs() as logged:
        bus.publish("story", b"what somebody said")
        bus.publish("story", b"the end")
        await ear.hears(b"the end")
    assert [(entry["event"], entry["error"]) for entry in logged] == 2 * [("bus callback failed", "ValueError")]
    assert "what somebody said" not in str(logged)


async def test_a_message_above_what_the_server_takes_is_counted_and_cuts_nobody_off(bus: Bus) -> None:
    ear = Ear()
    await bus.subscribe("story", ear)
    for headers in (None, {"Nats-Msg-Id": "s-llm-1-0"}):
        bus.publish("story", bytes(bus.client.max_payload + 1), "", headers)
    bus.publish("story", b"the end")
    assert await ear.hears(b"the end") == [b"the end"]
    assert (bus.undelivered, bus.reconnects) == (2, 0)


async def test_the_short_way_is_encrypted_where_the_connection_is(tmp_path: Path, monkeypatch: Any) -> None:
    certificate(tmp_path, "ours")
    tls = {"cert_file": str(tmp_path / "ours.pem"), "key_file": str(tmp_path / "ours.key")}
    async with guarded(tmp_path, tls=tls) as where:
        settings = BusSettings(url=f"tls://{where}", tls_ca=tmp_path / "ours.pem")
        async with connect(settings) as ours:
            monkeypatch.setattr(Client, "_process_msg", None)
            ear = Ear()
            await ours.subscribe_media("media", ear)
            await ours.flush()
            frames = [number.to_bytes(4, "little") * 320 for number in range(500)]
            for frame in frames:
                ours.publish_media("media", frame)
            assert await ear.hears(frames[-1]) == frames
