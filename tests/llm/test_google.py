"""Gemini against a stand-in: conformance, every fault, and what is sent."""

from collections.abc import AsyncIterator

import pytest

from antiphon_testing.conformance.language_model import ASKED, CHECKS, FAULTS, SECRET, Check, FaultCase, check_fault
from antiphon_testing.vendors.faults import Refuse
from antiphon_testing.vendors.gemini_wire import GEMINI
from antiphon_testing.vendors.language_model_server import (
    LanguageModelServer,
    Reply,
    ScriptedCall,
    language_model_server,
)
from schemas.events.llm import Usage
from schemas.provider_keys import ProviderKeys
from stages.llm.contract import ContextTooLong, Finish, Progress, ReplyItem, ReplyRequest, TextDelta, Tool, ToolCall
from stages.llm.prompt import CALL_BEGINS
from stages.llm.providers.google import KEY, open_provider
from stages.runtime.providers import ProviderContext, ProviderError, ProviderMissing

TOOL = Tool("book", "Books a table.", {"type": "object", "properties": {"at": {"type": "string"}}})


@pytest.fixture
async def server() -> AsyncIterator[LanguageModelServer]:
    async with language_model_server(GEMINI) as running:
        yield running


def pointed_at(server: LanguageModelServer) -> ProviderContext:
    return ProviderContext(ProviderKeys.from_environment({KEY: SECRET, "GEMINI_BASE_URL": server.url}))


async def items(server: LanguageModelServer, request: ReplyRequest = ASKED, **options: object) -> list[ReplyItem]:
    async with open_provider(pointed_at(server)) as provider, provider.open(options) as model:
        return [item async for item in model.reply(request)]


@pytest.mark.parametrize("check", CHECKS)
async def test_it_conforms(server: LanguageModelServer, check: Check) -> None:
    server.reply = Reply(every_s=0.01)
    async with open_provider(pointed_at(server)) as provider:
        await check(provider, {})


@pytest.mark.parametrize("case", FAULTS, ids=str)
async def test_it_survives(server: LanguageModelServer, case: FaultCase) -> None:
    async with open_provider(pointed_at(server)) as provider:
        await check_fault(provider, {"timeout": 1.0}, server, case)


async def test_what_is_asked(server: LanguageModelServer) -> None:
    await items(server, model="gemini-3.8-flash", temperature=0.5, thinking="low", extra={"seed": 7})
    [asked] = server.asked
    assert server.paths == ["/v1beta/models/gemini-3.8-flash:streamGenerateContent"]
    assert server.headers[0]["x-goog-api-key"] == SECRET
    assert asked["generationConfig"] == {
        "maxOutputTokens": 1_000,
        "temperature": 0.5,
        "thinkingConfig": {"thinkingLevel": "low"},
        "seed": 7,
    }
    assert [content["role"] for content in asked["contents"]] == ["user", "model", "user", "model", "user"]
    assert asked["contents"][0]["parts"] == [{"text": CALL_BEGINS}]
    assert asked["contents"][-1]["parts"] == [{"text": ASKED.utterance}]
    standing, turn = (part["text"] for part in asked["systemInstruction"]["parts"])
    assert standing.startswith(ASKED.prompt)
    assert "We open at nine." in turn


async def test_reasoning_calls_and_tokens_come_apart(server: LanguageModelServer) -> None:
    server.reply = Reply(("One moment.",), thoughts=("Hm.",), calls=(ScriptedCall("book", '{"at":"nine"}'),))
    request = ReplyRequest(ASKED.session, ASKED.prompt, ASKED.utterance, tools=(TOOL,))
    assert [item for item in await items(server, request) if not isinstance(item, Progress)] == [
        TextDelta("One moment."),
        ToolCall("call_0", "book", '{"at":"nine"}'),
        Usage(input_tokens=30, cached_tokens=20, output_tokens=4),
        Finish("tool_calls"),
    ]
    [declared] = server.asked[0]["tools"][0]["functionDeclarations"]
    assert declared == {"name": "book", "description": TOOL.description, "parametersJsonSchema": TOOL.parameters}


@pytest.mark.parametrize("finish", ["length", "content_filter"])
async def test_a_reply_at_a_limit_says_so(server: LanguageModelServer, finish: str) -> None:
    server.reply = Reply(finish=finish)
    assert (await items(server))[-1] == Finish(finish)  # type: ignore[arg-type]


async def test_a_wrong_key_is_named_though_google_answers_400(server: LanguageModelServer) -> None:
    server.faults.queue(Refuse(400, code="API_KEY_INVALID", message=f"API key not valid: {SECRET}"))
    with pytest.raises(ProviderError, match=rf"^HTTP 400 \(invalid_argument\): check {KEY}$") as caught:
        await items(server)
    assert (caught.value.kind, caught.value.retryable) == ("auth", False)


async def test_a_request_that_is_too_long_is_an_error_of_its_own(server: LanguageModelServer) -> None:
    server.faults.queue(Refuse(400, message="The input token count (9) exceeds the maximum number (8)."))
    with pytest.raises(ContextTooLong):
        await items(server)


async def test_a_missing_key_is_named() -> None:
    async with open_provider(ProviderContext()) as provider:
        with pytest.raises(ProviderMissing, match=KEY):
            async with provider.open({}):
                pass


async def test_the_key_goes_to_no_server_that_an_agent_chose(server: LanguageModelServer) -> None:
    keys = ProviderKeys.from_environment({KEY: SECRET})
    async with open_provider(ProviderContext(keys)) as provider, provider.open({"base_url": server.url}) as model:
        async for _ in model.reply(ASKED):
            pass
    assert SECRET not in str(server.headers)
