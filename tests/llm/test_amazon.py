"""Bedrock against a stand-in: conformance, every fault, signatures, and what is sent."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from antiphon_testing.conformance.language_model import ASKED, CHECKS, FAULTS, SECRET, Check, FaultCase, check_fault
from antiphon_testing.vendors.bedrock_wire import BEDROCK, frame
from antiphon_testing.vendors.faults import Refuse
from antiphon_testing.vendors.language_model_server import (
    LanguageModelServer,
    Reply,
    ScriptedCall,
    language_model_server,
)
from schemas.events.llm import Usage
from schemas.provider_keys import ProviderKeys
from stages.llm.contract import ContextTooLong, Finish, Progress, ReplyItem, ReplyRequest, TextDelta, Tool, ToolCall
from stages.runtime.providers import ProviderContext, ProviderError, ProviderMissing

pytest.importorskip("botocore", reason="extra amazon is not installed")

from stages.llm.providers.amazon import open_provider

BEARER = {"AWS_BEARER_TOKEN_BEDROCK": SECRET}
SIGNED = {"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_SESSION_TOKEN": "a-session"}
TOOL = Tool("book", "Books a table.", {"type": "object", "properties": {"at": {"type": "string"}}})


@pytest.fixture
async def server() -> AsyncIterator[LanguageModelServer]:
    async with language_model_server(BEDROCK) as running:
        yield running


def pointed_at(server: LanguageModelServer, keys: dict[str, str] = BEARER) -> ProviderContext:
    environment = {**keys, "AWS_ENDPOINT_URL_BEDROCK_RUNTIME": server.url, "AWS_REGION": "eu-west-1"}
    return ProviderContext(ProviderKeys.from_environment(environment))


async def items(
    server: LanguageModelServer, request: ReplyRequest = ASKED, keys: dict[str, str] = BEARER, **options: Any
) -> list[ReplyItem]:
    async with open_provider(pointed_at(server, keys)) as provider, provider.open(options) as model:
        return [item async for item in model.reply(request)]


@pytest.mark.parametrize("check", CHECKS)
async def test_it_conforms(server: LanguageModelServer, check: Check) -> None:
    server.reply = Reply(every_s=0.01)
    async with open_provider(pointed_at(server)) as provider:
        await check(provider, {})


@pytest.mark.parametrize("case", FAULTS, ids=str)
async def test_it_survives(server: LanguageModelServer, case: FaultCase) -> None:
    async with open_provider(pointed_at(server, SIGNED)) as provider:
        await check_fault(provider, {"timeout": 1.0}, server, case)


async def test_what_is_asked(server: LanguageModelServer) -> None:
    await items(server, model="eu.anthropic.claude-x-v1:0", temperature=0.5, extra={"top_k": 5})
    [asked] = server.asked
    assert server.paths == ["/model/eu.anthropic.claude-x-v1:0/converse-stream"]
    assert server.headers[0]["Authorization"] == f"Bearer {SECRET}"
    assert asked["inferenceConfig"] == {"maxTokens": 1_000, "temperature": 0.5}
    assert asked["additionalModelRequestFields"] == {"top_k": 5}
    assert [message["role"] for message in asked["messages"]] == ["user", "assistant", "user", "assistant", "user"]
    standing, cache, turn = asked["system"]
    assert standing["text"].startswith(ASKED.prompt)
    assert cache == {"cachePoint": {"type": "default"}}
    assert "We open at nine." in turn["text"]


async def test_a_model_without_a_cache_is_sent_no_cache_point(server: LanguageModelServer) -> None:
    await items(server, cache=False)
    assert "cachePoint" not in str(server.asked[0])


async def test_a_request_is_signed_with_the_three_variables(server: LanguageModelServer) -> None:
    await items(server, keys=SIGNED)
    [headers] = server.headers
    assert headers["Authorization"].startswith("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/")
    assert "/eu-west-1/bedrock/aws4_request" in headers["Authorization"]
    assert headers["X-Amz-Security-Token"] == "a-session"
    assert SECRET not in str(headers)


async def test_reasoning_calls_and_tokens_come_apart(server: LanguageModelServer) -> None:
    server.reply = Reply(("One moment.",), thoughts=("Hm.",), calls=(ScriptedCall("book", '{"at":"nine"}'),))
    request = ReplyRequest(ASKED.session, ASKED.prompt, ASKED.utterance, tools=(TOOL,))
    assert [item for item in await items(server, request) if not isinstance(item, Progress)] == [
        TextDelta("One moment."),
        ToolCall("call_0", "book", '{"at":"nine"}'),
        Usage(input_tokens=30, cached_tokens=20, output_tokens=4),
        Finish("tool_calls"),
    ]
    [tool] = server.asked[0]["toolConfig"]["tools"]
    assert tool["toolSpec"]["inputSchema"] == {"json": TOOL.parameters}


@pytest.mark.parametrize("finish", ["length", "content_filter"])
async def test_a_reply_at_a_limit_says_so(server: LanguageModelServer, finish: str) -> None:
    server.reply = Reply(finish=finish)
    assert (await items(server))[-1] == Finish(finish)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "kind", "retryable"),
    [
        ("throttlingException", "quota", True),
        ("validationException", "bad_request", False),
        ("modelStreamErrorException", "server", True),
        ("serviceUnavailableException", "server", True),
    ],
)
async def test_an_exception_in_the_stream(
    server: LanguageModelServer, monkeypatch: pytest.MonkeyPatch, name: str, kind: str, retryable: bool
) -> None:
    said = frame(name, {"message": f"no: {SECRET}"}, exception=True)
    monkeypatch.setattr(BEDROCK, "messages", lambda _: iter([frame("messageStart", {"role": "assistant"}), said]))
    with pytest.raises(ProviderError, match=f"^Bedrock reported {name}$") as caught:
        await items(server)
    assert (caught.value.kind, caught.value.retryable) == (kind, retryable)


@pytest.mark.parametrize(
    ("keys", "variable"), [(BEARER, "AWS_BEARER_TOKEN_BEDROCK"), (SIGNED, "AWS_SECRET_ACCESS_KEY")]
)
async def test_a_wrong_key_is_named_by_its_variable(
    server: LanguageModelServer, keys: dict[str, str], variable: str
) -> None:
    name = (("X-Amzn-ErrorType", "UnrecognizedClientException:http://internal.amazon.com/"),)
    server.faults.queue(Refuse(403, message=SECRET, headers=name))
    with pytest.raises(ProviderError, match=rf"^HTTP 403 \(UnrecognizedClientException\): check {variable}$"):
        await items(server, keys=keys)


async def test_a_request_that_is_too_long_is_an_error_of_its_own(server: LanguageModelServer) -> None:
    server.faults.queue(Refuse(400, message="Input is too long for requested model."))
    with pytest.raises(ContextTooLong):
        await items(server)


async def test_a_missing_key_is_named() -> None:
    async with open_provider(ProviderContext()) as provider:
        with pytest.raises(ProviderMissing, match="AWS_BEARER_TOKEN_BEDROCK"):
            async with provider.open({}):
                pass
    half = ProviderKeys.from_environment({"AWS_SECRET_ACCESS_KEY": SECRET})
    async with open_provider(ProviderContext(half)) as provider:
        with pytest.raises(ProviderError, match="AWS_ACCESS_KEY_ID is not: set both"):
            async with provider.open({}):
                pass


async def test_the_keys_go_to_no_server_that_an_agent_chose(server: LanguageModelServer) -> None:
    keys = ProviderKeys.from_environment({**BEARER, **SIGNED})
    async with open_provider(ProviderContext(keys)) as provider, provider.open({"base_url": server.url}) as model:
        async for _ in model.reply(ASKED):
            pass
    assert "Authorization" not in server.headers[0]
    assert SECRET not in str(server.headers)


@pytest.mark.parametrize("region", ["evil.example/", "us-east-1.evil.example", "US"])
async def test_a_region_is_no_way_to_another_host(region: str) -> None:
    async with open_provider(ProviderContext(ProviderKeys.from_environment(BEARER))) as provider:
        with pytest.raises(ProviderError, match="region"):
            async with provider.open({"region": region}):
                pass
