"""OpenAI, Groq and Cerebras against one stand-in: conformance, every fault, and what each sends."""

import asyncio
import gc
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, aclosing

import pytest

from antiphon_testing.conformance.language_model import (
    ASKED,
    CHECKS,
    FAULTS,
    SECRET,
    Check,
    FaultCase,
    check_fault,
)
from antiphon_testing.vendors.chat_wire import CHAT
from antiphon_testing.vendors.faults import Refuse
from antiphon_testing.vendors.language_model_server import (
    LanguageModelServer,
    Reply,
    ScriptedCall,
    language_model_server,
)
from schemas.events.llm import Usage
from schemas.provider_keys import ProviderKeys
from stages.llm.chat_client import ChatVendor
from stages.llm.contract import Finish, Progress, ReplyItem, ReplyRequest, TextDelta, Tool, ToolCall
from stages.llm.providers import cerebras, groq, openai
from stages.runtime.providers import ProviderContext, ProviderError, ProviderMissing

Open = Callable[[ProviderContext], AbstractAsyncContextManager[ChatVendor]]
VENDORS: dict[str, Open] = {
    "OPENAI_API_KEY": openai.open_provider,
    "GROQ_API_KEY": groq.open_provider,
    "CEREBRAS_API_KEY": cerebras.open_provider,
}
WITHIN_S = 30.0
TOOL = Tool("book", "Books a table.", {"type": "object", "properties": {"at": {"type": "string"}}})


@pytest.fixture
async def server() -> AsyncIterator[LanguageModelServer]:
    async with language_model_server(CHAT) as running:
        yield running


def pointed_at(server: LanguageModelServer, variable: str) -> ProviderContext:
    """The context of a worker whose operator set the vendor's URL and key."""
    url = variable.replace("_API_KEY", "_BASE_URL")
    return ProviderContext(ProviderKeys.from_environment({variable: SECRET, url: server.url}))


async def items(server: LanguageModelServer, variable: str, request: ReplyRequest = ASKED) -> list[ReplyItem]:
    async with VENDORS[variable](pointed_at(server, variable)) as provider, provider.open({}) as model:
        return [item async for item in model.reply(request)]


@pytest.mark.parametrize("variable", VENDORS)
@pytest.mark.parametrize("check", CHECKS)
async def test_each_conforms(server: LanguageModelServer, variable: str, check: Check) -> None:
    server.reply = Reply(every_s=0.01)
    async with VENDORS[variable](pointed_at(server, variable)) as provider:
        await check(provider, {})


@pytest.mark.parametrize("variable", VENDORS)
@pytest.mark.parametrize("case", FAULTS, ids=str)
async def test_each_survives(server: LanguageModelServer, variable: str, case: FaultCase) -> None:
    async with VENDORS[variable](pointed_at(server, variable)) as provider:
        await check_fault(provider, {"timeout": 1.0}, server, case)


@pytest.mark.parametrize("variable", VENDORS)
async def test_a_wrong_key_is_named_by_its_variable(server: LanguageModelServer, variable: str) -> None:
    server.faults.queue(Refuse(401, code="invalid_api_key", message=SECRET))
    with pytest.raises(ProviderError, match=rf"^HTTP 401 \(invalid_api_key\): check {variable}$"):
        await items(server, variable)


@pytest.mark.parametrize("variable", VENDORS)
async def test_a_missing_key_is_named_by_its_variable(variable: str) -> None:
    async with VENDORS[variable](ProviderContext()) as provider:
        with pytest.raises(ProviderMissing, match=variable):
            async with provider.open({}):
                pass


@pytest.mark.parametrize("variable", VENDORS)
async def test_reasoning_calls_and_tokens_come_apart(server: LanguageModelServer, variable: str) -> None:
    server.reply = Reply(("One moment.",), thoughts=("Hm.",), calls=(ScriptedCall("book", '{"at": "nine"}'),))
    request = ReplyRequest(ASKED.session, ASKED.prompt, ASKED.utterance, tools=(TOOL,))
    received = await items(server, variable, request)
    assert [item for item in received if not isinstance(item, Progress)] == [
        TextDelta("One moment."),
        ToolCall("call_0", "book", '{"at": "nine"}'),
        Usage(input_tokens=30, cached_tokens=20, output_tokens=4),
        Finish("tool_calls"),
    ]
    [asked] = server.asked
    assert asked["tools"] == [
        {
            "type": "function",
            "function": {"name": "book", "description": TOOL.description, "parameters": TOOL.parameters},
        }
    ]


async def test_groq_and_cerebras_are_sent_their_own_fields(server: LanguageModelServer) -> None:
    for variable, model in (("GROQ_API_KEY", "openai/gpt-oss-120b"), ("CEREBRAS_API_KEY", "gpt-oss-120b")):
        async with VENDORS[variable](pointed_at(server, variable)) as provider:
            options = {"reasoning_effort": "low", "extra": {"service_tier": "auto"}}
            async with provider.open(options) as opened:
                async for _ in opened.reply(ASKED):
                    pass
        asked = server.asked[-1]
        assert (asked["model"], asked["reasoning_effort"], asked["service_tier"]) == (model, "low", "auto")
        assert asked["max_completion_tokens"] == 1_000
        assert asked["stream_options"] == {"include_usage": True}
        assert "prompt_cache_key" not in asked
        assert server.headers[-1]["Authorization"] == f"Bearer {SECRET}"


async def test_a_session_connects_before_its_first_reply(server: LanguageModelServer) -> None:
    variable = "GROQ_API_KEY"
    async with groq.open_provider(pointed_at(server, variable)) as provider, provider.open({}) as model:
        await asyncio.wait_for(server.warmed.wait(), WITHIN_S)
        assert server.asked == []
        async for _ in model.reply(ASKED):
            pass
        assert len(server.connections) == 1


async def test_a_vendor_that_cannot_be_reached_opens_all_the_same() -> None:
    async with language_model_server(CHAT) as gone:
        pass
    async with groq.open_provider(pointed_at(gone, "GROQ_API_KEY")) as provider, provider.open({}):
        pass


async def test_many_interrupted_sessions_leave_nothing_behind(server: LanguageModelServer) -> None:
    server.reply = Reply(every_s=0.01)
    before = len(asyncio.all_tasks())
    async with groq.open_provider(pointed_at(server, "GROQ_API_KEY")) as provider:

        async def interrupted() -> None:
            async with provider.open({}) as model, aclosing(model.reply(ASKED)) as reply:
                async for item in reply:
                    if isinstance(item, TextDelta):
                        return

        async with asyncio.timeout(WITHIN_S):
            for _ in range(5):
                await asyncio.gather(*(interrupted() for _ in range(10)))
    gc.collect()  # warns of sockets and of generators that were not closed, which fails the test
    async with asyncio.timeout(WITHIN_S):
        while len(asyncio.all_tasks()) > before:  # the stand-in notices that its clients left
            await asyncio.sleep(0.02)
