"""The local language model, the real one: facts first, words only where there are no facts, and quiet at once."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from antiphon_testing.conformance.language_model import CHECKS, texts
from cli.discovery import weights_folder
from schemas.agent import AgentDocument
from stages.llm.contract import ChatMessage, ContextTooLong, Finish, ReplyRequest
from stages.llm.fact_retrieval import choose
from stages.runtime.providers import ProviderContext, ProviderError, ProviderMissing
from stages.runtime.weights import SMOLLM2, present

if TYPE_CHECKING:
    from stages.llm.providers.local import Local

local = pytest.importorskip("stages.llm.providers.local", reason="pip install -e '.[local]'")
pytestmark = [
    pytest.mark.skipif(not present(SMOLLM2, weights_folder()), reason="antiphon fetch"),
]

AGENT = AgentDocument.model_validate(
    json.loads((Path(__file__).parents[2] / "examples" / "agents" / "receptionist.json").read_text())
)


@pytest.fixture
async def provider() -> "AsyncIterator[Local]":
    async with local.open_provider(ProviderContext(weights=weights_folder())) as opened:
        yield opened


def asks(utterance: str, *history: ChatMessage) -> ReplyRequest:
    return ReplyRequest("s1", AGENT.prompt, utterance, history, choose(AGENT.facts, utterance, history))


def talks(utterance: str) -> ReplyRequest:
    """To an agent without facts, for which the model itself speaks."""
    return ReplyRequest("s1", "You tell stories.", utterance)


async def answer(provider: "Local", request: ReplyRequest, **options: Any) -> str:
    async with provider.open(dict(options)) as model:
        return "".join(await texts(model.reply(request)))


async def test_a_fact_that_matches_is_the_answer(provider: "Local") -> None:
    assert "24 Mill Street" in await answer(provider, asks("Where are you?"))


async def test_what_no_fact_answers_is_handed_to_a_person(provider: "Local") -> None:
    first = await answer(provider, asks("Do you do dentures?"))
    assert first.strip() == local.UNKNOWN
    again = await answer(provider, asks("Do you sell coffee?", ChatMessage("assistant", first.strip())))
    assert again.strip() == local.STILL_UNKNOWN


async def test_without_facts_the_model_speaks_and_says_the_same_twice(provider: "Local") -> None:
    first = await answer(provider, talks("Tell me about a dog."), max_tokens=20)
    assert len(first.split()) >= 5
    assert await answer(provider, talks("Tell me about a dog."), max_tokens=20) == first


async def test_picking_among_facts_it_makes_nothing_up(provider: "Local") -> None:
    request = asks("When can I come by tonight and see you?")
    picked = await answer(provider, request, answers="both")
    allowed = {local.UNKNOWN, local.STILL_UNKNOWN} | {one.fact.text for one in request.facts}
    assert picked.strip() in allowed


async def test_an_answer_that_is_dropped_stops_the_model(provider: "Local") -> None:
    async with provider.open({"max_tokens": 250}) as model:
        request = talks("Tell me a very long story about a dog.")
        whole = len(await texts(model.reply(request)))
        written = 0
        async with aclosing(model.reply(request)) as pieces:
            async for _ in pieces:
                written += 1
                if written == 3:
                    break
        loop = asyncio.get_running_loop()
        began = loop.time()
        async with aclosing(model.reply(talks("Hello, who are you?"))) as pieces:
            await anext(pieces)
        waited = loop.time() - began
        assert whole > 100  # what the next caller would have waited for, at 12 ms a token or slower
        assert waited < whole * 0.012


async def test_the_loop_runs_on_while_the_model_writes(provider: "Local") -> None:
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0)
            ticks += 1

    ticking = asyncio.create_task(tick())
    await answer(provider, talks("Tell me about a dog."), max_tokens=10)
    ticking.cancel()
    assert ticks > 100


async def test_an_unknown_option_is_refused_by_name(provider: "Local") -> None:
    with pytest.raises(ProviderError, match="temperature"):
        async with provider.open({"temperature": 1}):
            pass


async def test_missing_weights_name_the_command_that_fetches_them(tmp_path: Path) -> None:
    with pytest.raises(ProviderMissing, match="antiphon fetch"):
        async with local.open_provider(ProviderContext(weights=tmp_path)):
            pass


async def test_a_reply_at_its_limit_says_so(provider: "Local") -> None:
    async with provider.open({"max_tokens": 5}) as model:
        items = [item async for item in model.reply(talks("Tell me about a dog."))]
    assert items[-1] == Finish("length")


async def test_a_request_that_is_too_long_says_so(provider: "Local") -> None:
    with pytest.raises(ContextTooLong):
        await answer(provider, ReplyRequest("s1", "You tell stories. " * 1_000, "Tell me one."))


@pytest.mark.parametrize("answers", ["matched", "model"])
async def test_it_conforms(provider: "Local", answers: str) -> None:
    for check in CHECKS:
        await check(provider, {"answers": answers})
