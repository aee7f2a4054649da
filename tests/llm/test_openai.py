"""The OpenAI provider against a real server."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import pytest

from antiphon_testing.conformance.language_model import CHECKS, Check, texts
from antiphon_testing.vendors.openai_server import Hang, Refusal, Script, Server, Stream, event, openai_server
from schemas.provider_keys import PrivateHosts, ProviderKeys
from stages.llm.contract import (
    ChatMessage,
    ContextTooLong,
    Finish,
    Progress,
    ReplyItem,
    ReplyRequest,
    TextDelta,
    ToolCall,
)
from stages.llm.providers.openai import KEY, open_provider
from stages.runtime.providers import ProviderContext, ProviderError, ProviderMissing

SECRET = "sk-CANARY"
ASKED = ReplyRequest("s1", "Be kind.", "When do you CANARY open?", (ChatMessage("assistant", "Hello."),))


def context(**environment: str) -> ProviderContext:
    return ProviderContext(ProviderKeys.from_environment(environment), PrivateHosts())


def bound(server: Server) -> ProviderContext:
    """The context of a worker whose operator bound a key to the server."""
    return context(MY_API_KEY=SECRET, ANTIPHON_KEY_HOSTS=f"MY_API_KEY={server.url}")


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with openai_server() as running:
        yield running


async def items(server: Server, **options: Any) -> list[ReplyItem]:
    chosen = {"base_url": server.url, "timeout": 1.0, **options}
    async with open_provider(bound(server)) as provider, provider.open(chosen) as model:
        return [item async for item in model.reply(ASKED)]


async def reply(server: Server, **options: Any) -> list[str]:
    return [item.text for item in await items(server, **options) if isinstance(item, TextDelta)]


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
    remedy = ": check MY_API_KEY" if kind == "auth" else ""
    assert str(caught.value) == f"HTTP {status} (some_code){remedy}"
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
                if isinstance(piece, TextDelta):
                    pieces.append(piece.text)

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
                async for item in stream:
                    if not isinstance(item, TextDelta):
                        continue
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
                assert await texts(model.reply(ASKED)) == ["Hello."]
    assert len(server.asked) == 3
    assert len(server.connections) == 1


async def test_a_missing_key_is_named() -> None:
    async with open_provider(context()) as provider:
        with pytest.raises(ProviderMissing, match=KEY):
            async with provider.open({}):
                pass
        with pytest.raises(ProviderMissing, match="GROQ_API_KEY"):
            async with provider.open({"base_url": "https://api.groq.com/openai/v1"}):
                pass


async def test_the_key_of_openai_goes_to_no_server_that_an_agent_chose(server: Server) -> None:
    async with open_provider(context(**{KEY: SECRET})) as provider, provider.open({"base_url": server.url}) as model:
        assert await texts(model.reply(ASKED)) == ["Hello."]
    assert SECRET not in server.keys[0]


async def test_the_operator_may_point_all_agents_elsewhere(server: Server) -> None:
    async with (
        open_provider(context(OPENAI_API_KEY=SECRET, OPENAI_BASE_URL=server.url)) as provider,
        provider.open({}) as model,
    ):
        assert await texts(model.reply(ASKED)) == ["Hello."]
    assert server.keys == [f"Bearer {SECRET}"]


@pytest.mark.parametrize("options", [{"base_url": "file:///etc"}, {"temperature": 9}, {"modle": "x"}, {"timeout": 0}])
async def test_wrong_options_are_named(options: dict[str, Any]) -> None:
    async with open_provider(context(**{KEY: SECRET})) as provider:
        with pytest.raises(ProviderError, match=next(iter(options))):
            async with provider.open(options):
                pass


async def test_the_former_option_for_keys_is_refused_with_the_remedy() -> None:
    async with open_provider(context()) as provider:
        with pytest.raises(ProviderError, match=r"key_env is gone: remove it.*ANTIPHON_KEY_HOSTS") as caught:
            async with provider.open({"base_url": "https://elsewhere.example", "key_env": "AWS_SECRET_ACCESS_KEY"}):
                pass
        assert caught.value.kind == "options"


async def test_no_secret_of_the_environment_reaches_another_host(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The SDK that was here sent OPENAI_CUSTOM_HEADERS and OPENAI_ORG_ID to every host that a document named."""
    secrets = {
        "OPENAI_API_KEY": SECRET,
        "OPENAI_ADMIN_KEY": SECRET,
        "OPENAI_ORG_ID": SECRET,
        "OPENAI_PROJECT_ID": SECRET,
        "OPENAI_CUSTOM_HEADERS": f"Authorization: Bearer {SECRET}\nX-Secret: {SECRET}",
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "GROQ_API_KEY": SECRET,
    }
    for name, secret in secrets.items():
        monkeypatch.setenv(name, secret)
    async with open_provider(context(**secrets)) as provider, provider.open({"base_url": server.url}) as model:
        assert await texts(model.reply(ASKED)) == ["Hello."]
    assert SECRET not in str(server.headers)
    assert "Authorization" not in server.headers[0]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_the_conversation_follows_no_redirect(server: Server, status: int) -> None:
    async with openai_server() as elsewhere:
        server.plan = Refusal(status, headers=(("Location", f"{elsewhere.url}/chat/completions"),))
        with pytest.raises(ProviderError, match=f"HTTP {status}: redirects are not followed") as caught:
            await reply(server)
        assert caught.value.kind == "bad_request"
        assert elsewhere.asked == []
    assert len(server.asked) == 1


# --- streams as servers send them -----------------------------------------------------------------------------------

NINE = event({"delta": {"content": "At nine."}})
STOP = event({"delta": {}, "finish_reason": "stop"})
DONE = b"data: [DONE]\n\n"


@pytest.mark.parametrize(
    "pieces",
    [
        (NINE, STOP, DONE),
        (NINE, STOP),
        (NINE, DONE),
        (b"retry: 3000\n\n", NINE, STOP, DONE),
        (b"id: 1\n: a comment\n\n", NINE, STOP, DONE),
        (b": keep-alive\n\n", NINE, b": keep-alive\n\n", STOP, DONE),
        ((NINE + STOP + DONE).replace(b"\n", b"\r\n"),),
        ((NINE + STOP + DONE).replace(b"\n", b"\r"),),
        (NINE, STOP, b"data: [DONE]"),
        (event({"delta": None}), NINE, event({"delta": None, "finish_reason": "stop"})),
        (b"data: {}\n\n", b"data: nonsense\n\n", NINE, STOP),
        tuple(bytes([byte]) for byte in NINE + STOP + DONE),
        (event({"delta": {"content": "<think>Hm."}}), event({"delta": {"content": "</think>"}}), NINE, STOP),
        (NINE, STOP, 5.0),  # a connection that stays open behind a whole reply
    ],
)
async def test_streams_of_every_kind(server: Server, pieces: tuple[bytes | float, ...]) -> None:
    server.plan = Script(pieces)
    assert "".join(await reply(server)).strip() == "At nine."


async def test_a_server_that_does_not_stream_is_read_as_well(server: Server) -> None:
    whole = b'{"choices": [{"message": {"content": "At nine."}, "finish_reason": "stop"}]}'
    server.plan = Script((whole[:20], whole[20:]), "application/json")
    assert await reply(server) == ["At nine."]


async def test_reasoning_and_keep_alive_are_signs_of_life(server: Server) -> None:
    thinks = event({"delta": {"reasoning_content": "Hm."}})
    server.plan = Script((b": processing\n\n", 0.05, thinks, 0.05, NINE, STOP, DONE))
    assert [type(item) for item in await items(server)] == [Progress, Progress, TextDelta, Finish]


async def test_the_reply_says_that_it_was_cut_and_which_tools_were_called(server: Server) -> None:
    call = event({"delta": {"tool_calls": [{"index": 0, "function": {"name": "book", "arguments": "{}"}}]}})
    server.plan = Script((NINE, call, event({"delta": {}, "finish_reason": "length"})))
    assert await items(server) == [
        TextDelta("At nine."),
        Progress(),
        ToolCall("", "book", "{}"),
        Finish("length"),
    ]


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("context_length_exceeded", ""),
        ("", "This model's maximum context length is 8192 tokens."),
        ("", "the request exceeds the available context size, exceed_context_size_error"),
    ],
)
async def test_a_request_that_is_too_long_is_an_error_of_its_own(server: Server, code: str, message: str) -> None:
    server.plan = Refusal(400, code, message)
    with pytest.raises(ContextTooLong):
        await reply(server)


@pytest.mark.parametrize(
    ("headers", "tries", "retry_after_s"),
    [
        ((("Retry-After", "20"),), 1, 20.0),
        ((("Retry-After", "Wed, 21 Oct 2099 07:28:00 GMT"),), 1, None),
        ((("Retry-After-Ms", "60000"),), 1, 60.0),
        ((("Retry-After", "0"),), 2, 0.0),
        ((("Retry-After", "soon"),), 2, None),
    ],
)
async def test_a_throttled_server_is_waited_for_only_if_that_is_short(
    server: Server, headers: tuple[tuple[str, str], ...], tries: int, retry_after_s: float | None
) -> None:
    server.plan = Refusal(429, headers=headers)
    clock = asyncio.get_running_loop()
    began_s = clock.time()
    with pytest.raises(ProviderError) as caught:
        await reply(server)
    assert clock.time() - began_s < 2
    assert (caught.value.kind, len(server.asked)) == ("quota", tries)
    if retry_after_s is not None:
        assert caught.value.retry_after_s == retry_after_s


async def test_an_account_without_credit_is_not_asked_again(server: Server) -> None:
    server.plan = Refusal(429, "insufficient_quota")
    with pytest.raises(ProviderError) as caught:
        await reply(server)
    assert (caught.value.kind, caught.value.retryable, len(server.asked)) == ("quota", False, 1)


async def test_a_second_try_may_succeed(server: Server) -> None:
    server.plan, server.then = Refusal(503), [Stream(("Hello.",))]
    assert await reply(server) == ["Hello."]


@pytest.mark.parametrize("check", CHECKS)
async def test_it_conforms(server: Server, check: Check) -> None:
    server.plan = Stream(("We ", "open ", "at nine."), every_s=0.01)
    async with open_provider(bound(server)) as provider:
        await check(provider, {"base_url": server.url})


def test_the_sdk_is_imported_by_nobody_else() -> None:
    code = "import sys, stages.llm.stage, stages.llm.providers.scripted; sys.exit('openai' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
