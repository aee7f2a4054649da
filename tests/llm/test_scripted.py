"""The scripted model."""

import asyncio
from typing import Any

import pytest

from antiphon_testing.conformance.language_model import CHECKS, Check, texts
from antiphon_testing.virtual_time import in_virtual_time
from stages.llm.contract import ReplyRequest, TextDelta
from stages.llm.providers.scripted import open_provider
from stages.runtime.providers import ProviderContext, ProviderError


async def replies(options: dict[str, Any], *utterances: str) -> list[list[str]]:
    async with open_provider(ProviderContext()) as provider, provider.open(options) as model:
        return [await texts(model.reply(ReplyRequest("s1", "", said))) for said in utterances]


async def test_replies_are_given_in_turn_and_know_what_was_said() -> None:
    given = await replies(
        {"replies": ["You said {text}", "{session}  bye"], "first_ms": 0, "token_ms": 0}, "a {session}", "b", "c"
    )
    assert given == [["You ", "said ", "a ", "{session}"], ["s1  ", "bye"], ["You ", "said ", "c"]]


@in_virtual_time
async def test_words_come_on_time() -> None:
    clock = asyncio.get_running_loop()
    async with open_provider(ProviderContext()) as provider, provider.open({"first_ms": 50, "token_ms": 5}) as model:
        came = [
            round(clock.time() * 1000)
            async for item in model.reply(ReplyRequest("s1", "", "x"))
            if isinstance(item, TextDelta)
        ]
    assert came == [50, 55, 60]


@pytest.mark.parametrize("options", [{"replies": []}, {"first_ms": -1}, {"replys": ["x"]}])
async def test_wrong_options_are_named(options: dict[str, Any]) -> None:
    with pytest.raises(ProviderError, match=next(iter(options))):
        await replies(options)


async def test_a_reply_goes_on_behind_what_was_already_spoken() -> None:
    async with open_provider(ProviderContext()) as provider, provider.open({"replies": ["One two three."]}) as model:
        request = ReplyRequest("s1", "", "Count.", already_spoken="One two ")
        assert await texts(model.reply(request)) == ["three."]


@pytest.mark.parametrize("check", CHECKS)
async def test_it_conforms(check: Check) -> None:
    async with open_provider(ProviderContext()) as provider:
        await check(provider, {})
