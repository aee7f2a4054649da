"""The OpenAI provider: the real SDK against a real server."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import pytest
from pydantic import SecretStr

from stages.llm.providers.openai import KEY, URL, open_provider
from stages.runtime.providers import Message, ProviderContext, ProviderError, ProviderMissing, ReplyRequest
from tests.kit.openai_server import Hang, Refusal, Server, Stream, openai_server

SECRET = "sk-CANARY"
ASKED = ReplyRequest("s1", "Be kind.", "When do you CANARY open?", (Message("assistant", "Hello."),))


def context(**keys: str) -> ProviderContext:
    return ProviderContext(keys={name: SecretStr(key) for name, key in keys.items()})


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with openai_server() as running:
        yield running


async def reply(server: Server, **options: Any) -> list[str]:
    async with open_provider(context(MY_KEY=SECRET)) as provider:
        chosen = {"base_url": server.url, "key_env": "MY_KEY", "timeout": 1.0, **options}
        async with provider.open(chosen) as model:
            return [piece async for piece in model.reply(ASKED)]


async def test_the_reply_comes_in_the_pieces_of_the_server(server: Server) -> None:
    server.plan = Stream(("We ", "open ", "at nine."))
    assert await reply(server, model="m-1", temperature=0.2, max_tokens=60, extra={"seed": 7}) == [
        "We ",
        "open ",
        "at nine.",
    ]
    [asked] = server.asked
    assert (asked["model"], asked["temperature"], asked["max_tokens"], asked["seed"]) == ("m-1", 0.2, 60, 7)
    assert asked["stream"] is True
    assert [message["role"] for message in asked["messages"]] == ["system", "assistant", "user"]
    assert server.keys == [f"Bearer {SECRET}"]


async def test_what_is_not_set_is_not_sent(server: Server) -> None:
    await reply(server)
    assert set(server.asked[0]) == {"model", "messages", "stream", "max_tokens"}


@pytest.mark.parametrize(
    ("status", "kind", "retryable", "tries"),
    [
        (400, "bad_request", False, 1),
        (401, "auth", False, 1),
        (403, "auth", False, 1),
        (404, "bad_request", False, 1),
        (429, "quota", True, 2),
        (500, "server", True, 2),
    ],
)
async def test_a_refusal_is_told_by_its_kind_and_quotes_nobody(
    server: Server, status: int, kind: str, retryable: bool, tries: int
) -> None:
    server.plan = Refusal(status, "some_code", f"bad key {SECRET} for CANARY")
    with pytest.raises(ProviderError) as caught:
        await reply(server)
    assert (caught.value.kind, caught.value.retryable) == (kind, retryable)
    assert str(caught.value) == f"HTTP {status} (some_code)"
    assert caught.value.__suppress_context__
    assert len(server.asked) == tries


@pytest.mark.parametrize(
    ("ends", "kind"),
    [("cut", "connection"), ("eof", "connection"), ("error", "server"), ("garbage", "server"), ("hang", "timeout")],
)
async def test_a_stream_that_breaks_off_is_told_after_what_had_come(server: Server, ends: str, kind: str) -> None:
    server.plan = Stream(("We ", "open "), ends=ends, every_s=0.05)
    pieces = []

    async def listen() -> None:
        options = {"base_url": server.url, "timeout": 0.5}
        async with open_provider(context()) as provider, provider.open(options) as model:
            async for piece in model.reply(ASKED):
                pieces.append(piece)

    with pytest.raises(ProviderError) as caught:
        await listen()
    assert pieces == ["We ", "open "]
    assert (caught.value.kind, caught.value.retryable) == (kind, True)
    assert "CANARY" not in str(caught.value)


async def test_a_server_that_never_answers_times_out(server: Server) -> None:
    server.plan = Hang()
    with pytest.raises(ProviderError) as caught:
        await reply(server, timeout=0.2)
    assert caught.value.kind == "timeout"


async def test_nobody_there_is_a_connection_error() -> None:
    async with openai_server() as gone:
        pass
    with pytest.raises(ProviderError) as caught:
        await reply(gone)
    assert (caught.value.kind, caught.value.retryable) == ("connection", True)


@pytest.mark.parametrize("how", ["close", "cancel"])
async def test_the_server_sees_that_the_caller_interrupted(server: Server, how: str) -> None:
    server.plan = Stream(("We ",), ends="hang")
    begun = asyncio.Event()
    async with open_provider(context()) as provider, provider.open({"base_url": server.url}) as model:

        async def speak() -> None:
            async with aclosing(model.reply(ASKED)) as stream:
                async for _ in stream:
                    begun.set()
                    if how == "close":
                        return

        task = asyncio.create_task(speak())
        await asyncio.wait_for(begun.wait(), 5)
        if how == "cancel":
            task.cancel()
        await asyncio.wait({task}, timeout=5)
        await asyncio.wait_for(server.left.wait(), 5)


async def test_calls_to_one_server_share_one_connection(server: Server) -> None:
    async with open_provider(context()) as provider:
        for _ in range(3):
            async with provider.open({"base_url": server.url}) as model:
                assert [piece async for piece in model.reply(ASKED)] == ["Hello."]
    assert len(server.asked) == 3
    assert len(server.connections) == 1


async def test_a_missing_key_is_named() -> None:
    async with open_provider(context()) as provider:
        with pytest.raises(ProviderMissing, match=KEY):
            async with provider.open({}):
                pass
        with pytest.raises(ProviderMissing, match="GROQ_API_KEY"):
            async with provider.open({"base_url": "https://example.invalid/v1", "key_env": "GROQ_API_KEY"}):
                pass


async def test_the_key_of_openai_goes_to_no_server_that_an_agent_chose(server: Server) -> None:
    async with open_provider(context(**{KEY: SECRET})) as provider, provider.open({"base_url": server.url}) as model:
        assert [piece async for piece in model.reply(ASKED)] == ["Hello."]
    assert SECRET not in server.keys[0]


async def test_the_operator_may_point_all_agents_elsewhere(server: Server) -> None:
    async with open_provider(context(**{KEY: SECRET, URL: server.url})) as provider, provider.open({}) as model:
        assert [piece async for piece in model.reply(ASKED)] == ["Hello."]
    assert server.keys == [f"Bearer {SECRET}"]


@pytest.mark.parametrize("options", [{"base_url": "file:///etc"}, {"temperature": 9}, {"modle": "x"}, {"timeout": 0}])
async def test_wrong_options_are_named(options: dict[str, Any]) -> None:
    async with open_provider(context(**{KEY: SECRET})) as provider:
        with pytest.raises(ProviderError, match=next(iter(options))):
            async with provider.open(options):
                pass


def test_the_sdk_is_imported_by_nobody_else() -> None:
    code = "import sys, stages.llm.stage, stages.llm.providers.scripted; sys.exit('openai' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
