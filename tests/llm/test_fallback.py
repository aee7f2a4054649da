"""A reply whose model fails is finished by the next one: no word is doubled, none is missing, every failure is told."""

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest

from antiphon_testing.virtual_time import in_virtual_time
from schemas.agent import AgentDocument
from schemas.events.llm import Usage
from stages.llm.contract import (
    Capabilities,
    Finish,
    LanguageModel,
    LanguageModelProvider,
    ReplyItem,
    ReplyRequest,
    TextDelta,
)
from stages.llm.fallback import Replies
from stages.llm.reply import APOLOGY, QUICK, Piece
from stages.runtime.chain import Failure, ProviderChain
from stages.runtime.providers import ProviderContext, ProviderError, ProviderMissing, Providers

TOKENS = (
    "Yes|, of| course|.| We| are| open| from| nine| to| noon| on| Mon|day|.| After| that|,| please| ring| the| bell|"
    " at| the| door|.| Is| that| all| right|?"
).split("|")
REPLY = "".join(TOKENS)
SENTENCES = [
    "Yes, of course.",
    "We are open from nine to noon on Monday.",
    "After that, please ring the bell at the door.",
]
BEHAVIOURS = ("continues", "restarts", "repeats the last sentence")
GONE = ProviderError("server", "gone", retryable=True)
ASKED = ReplyRequest("s1", "", "When are you open?")

Script = list[str | float | Exception | ReplyItem]


class Model:
    """A model that plays a script: texts, waits in seconds, failures, items."""

    capacity = None
    capabilities = Capabilities()

    def __init__(self, *script: str | float | Exception | ReplyItem, refuses: Exception | None = None) -> None:
        self.script: Script = list(script)
        self.refuses = refuses
        self.requests: list[ReplyRequest] = []
        self.opened = self.closed = 0
        self.model = "fake"

    @asynccontextmanager
    async def open(self, options: Mapping[str, Any]) -> AsyncIterator["Model"]:
        if self.refuses:
            raise self.refuses
        self.opened += 1
        yield self
        self.closed += 1

    async def reply(self, request: ReplyRequest) -> AsyncGenerator[ReplyItem, None]:
        self.requests.append(request)
        for one in self.script:
            if isinstance(one, Exception):
                raise one
            if isinstance(one, float):
                await asyncio.sleep(one)
            else:
                yield TextDelta(one) if isinstance(one, str) else one
        yield Finish()


class StandIn(Model):
    """A model that goes on with REPLY as its behaviour says."""

    def __init__(self, behaviour: str) -> None:
        super().__init__()
        self.behaviour = behaviour

    async def reply(self, request: ReplyRequest) -> AsyncGenerator[ReplyItem, None]:
        self.requests.append(request)
        spoken = request.already_spoken
        assert REPLY.startswith(spoken)
        at = len(spoken)
        if self.behaviour == "restarts":
            at = 0
        elif self.behaviour == "repeats the last sentence" and spoken:
            at = max((REPLY.find(one) for one in SENTENCES if spoken.endswith(one)), default=at)
        for token in re.findall(r"\s*\S{1,3}", REPLY[at:]):
            yield TextDelta(token)
        yield Usage(input_tokens=7)
        yield Finish()


class Registry(Providers[LanguageModelProvider]):
    def __init__(self, models: Mapping[str, Model], last_resorts: tuple[str, ...] = ()) -> None:
        super().__init__("llm", ProviderContext(), last_resorts=last_resorts)
        self.models = models

    async def get(self, name: str) -> LanguageModelProvider:
        if name not in self.models:
            raise ProviderMissing(f"llm has no provider {name!r}")
        return self.models[name]


def agent(*names: str) -> AgentDocument:
    first, *fallback = names
    return AgentDocument.model_validate({"id": "desk", "llm": {"provider": first, "fallback": fallback}})


def opener(provider: LanguageModelProvider, options: Mapping[str, Any]) -> Any:
    return provider.open(dict(options))


@asynccontextmanager
async def replies(registry: Registry, *names: str, failures: list[Failure] | None = None) -> AsyncIterator[Replies]:
    document = agent(*names)
    chain: ProviderChain[LanguageModelProvider, LanguageModel] = ProviderChain(registry, document, document.llm, opener)
    async with chain:
        first = await chain.open_first((failures if failures is not None else []).append)
        yield Replies(chain, first)


async def read(models: Replies, request: ReplyRequest = ASKED) -> list[Piece]:
    return [piece async for piece in models.pieces(request)]


def words(pieces: list[Piece]) -> list[str]:
    return re.findall(r"\w+", " ".join(piece.text for piece in pieces))


def told(pieces: list[Piece]) -> list[tuple[str, str, str]]:
    return [(piece.provider, piece.failure.kind, piece.next) for piece in pieces if piece.failure]


@pytest.mark.parametrize("behaviour", BEHAVIOURS)
@pytest.mark.parametrize("cut", range(len(TOKENS) + 1))
def test_a_reply_that_is_cut_at_any_token_is_whole(behaviour: str, cut: int) -> None:
    @in_virtual_time
    async def story() -> None:
        first, second = Model(*TOKENS[:cut], GONE), StandIn(behaviour)
        async with replies(Registry({"a": first, "b": second}), "a", "b") as models:
            pieces = await read(models)
        assert words(pieces) == re.findall(r"\w+", REPLY)
        assert told(pieces) == [("a", "server", "b")]
        assert [piece.last for piece in pieces] == [False] * (len(pieces) - 1) + [True]
        assert pieces[-1].usage == Usage(input_tokens=7)
        assert (models.provider, pieces[-1].truncated, pieces[-1].kind) == ("b", False, "reply")

    story()


@in_virtual_time
async def test_a_model_that_stalls_gives_way_within_three_seconds() -> None:
    first, second = Model(*TOKENS[:9], 60.0), StandIn("continues")
    async with replies(Registry({"a": first, "b": second}), "a", "b") as models:
        clock = asyncio.get_running_loop()
        began_s = clock.time()
        pieces = await read(models)
        assert clock.time() - began_s <= QUICK.silent_s + 0.1 <= 3.0
    assert words(pieces) == re.findall(r"\w+", REPLY)
    assert told(pieces) == [("a", "timeout", "b")]


@in_virtual_time
async def test_every_provider_is_asked_once_and_then_an_apology_comes() -> None:
    models = {name: Model(GONE) for name in "abc"}
    async with replies(Registry(models), "a", "b", "c") as asked:
        pieces = await read(asked)
    assert told(pieces) == [("a", "server", "b"), ("b", "server", "c"), ("c", "server", "")]
    assert [(piece.text, piece.kind, piece.last) for piece in pieces[3:]] == [(APOLOGY, "notice", True)]
    assert [len(model.requests) for model in models.values()] == [1, 1, 1]


@in_virtual_time
async def test_what_was_spoken_stands_if_no_provider_is_left() -> None:
    async with replies(Registry({"a": Model("We open. At n", GONE), "b": Model(GONE)}), "a", "b") as models:
        pieces = await read(models)
    assert [piece.text for piece in pieces if not piece.failure] == ["We open.", ""]
    assert pieces[-1].truncated


@in_virtual_time
async def test_a_reply_that_was_cut_behind_its_last_sentence_needs_no_more_words() -> None:
    async with replies(Registry({"a": Model("We open. ", GONE), "b": Model("We open.")}), "a", "b") as models:
        pieces = await read(models)
    assert told(pieces) == [("a", "server", "b")]
    assert [(piece.text, piece.truncated) for piece in pieces[-1:]] == [("", False)]


@in_virtual_time
async def test_a_session_opens_though_its_first_providers_do_not() -> None:
    failures: list[Failure] = []
    registry = Registry({"a": Model(refuses=GONE), "c": Model("Hello.")})
    async with replies(registry, "a", "b", "c", failures=failures) as models:
        assert [piece.text for piece in await read(models) if piece.text] == ["Hello."]
    assert [(one.provider, one.error.kind, one.next) for one in failures] == [
        ("a", "server", "b"),
        ("b", "options", "c"),
    ]


@in_virtual_time
async def test_the_first_provider_s_error_stands_for_a_chain_that_does_not_open() -> None:
    with pytest.raises(ProviderMissing, match="has no provider 'a'"):
        async with replies(Registry({"b": Model(refuses=GONE)}), "a", "b"):
            pass


@in_virtual_time
async def test_the_last_resort_stands_in_for_a_vendor_but_not_for_a_wrong_document() -> None:
    last = Model("I stand in.")
    registry = Registry({"a": Model(GONE), "local": last}, last_resorts=("absent", "local"))
    async with replies(registry, "a") as models:
        pieces = await read(models)
    assert [piece.text for piece in pieces if piece.text] == ["I stand in."]
    assert told(pieces) == [("a", "server", "local")]
    wrong = Registry({"a": Model(refuses=ProviderError("options", "option x")), "local": last}, ("local",))
    with pytest.raises(ProviderError, match="option x"):
        async with replies(wrong, "a"):
            pass


@in_virtual_time
async def test_a_provider_that_failed_twice_is_avoided_and_tried_if_no_other_is_left() -> None:
    first, second = Model(GONE), Model("Hello.")
    registry = Registry({"a": first, "b": second})
    async with replies(registry, "a", "b") as models:
        for _ in range(4):
            await read(models)
    assert (len(first.requests), len(second.requests)) == (2, 4)
    async with replies(registry, "a") as alone:  # a session of another agent, which has no other provider
        await read(alone)
    assert len(first.requests) == 3


@in_virtual_time
async def test_everything_that_was_opened_is_closed() -> None:
    first, second = Model(GONE), Model("Hello.")
    async with replies(Registry({"a": first, "b": second}), "a", "b") as models:
        await read(models)
    assert (first.opened, second.opened) == (first.closed, second.closed) == (1, 1)
