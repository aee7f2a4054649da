"""The conformance suite of language models: everything that the llm stage relies on.

    @pytest.mark.parametrize("check", CHECKS)
    async def test_acme_conforms(check: Check) -> None:
        async with acme.open_provider(context) as provider:
            await check(provider, {"model": "acme-1"})

The options must make the provider answer with some text. Each check raises AssertionError that says what is wrong.

A provider behind a network is also run against a stand-in of its vendor, with each fault of FAULTS:

    @pytest.mark.parametrize("case", FAULTS, ids=str)
    async def test_acme_survives(case: FaultCase) -> None:
        async with language_model_server(ACME) as server, acme.open_provider(context) as provider:
            await check_fault(provider, {"base_url": server.url, "timeout": 0.5}, server, case)
"""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import Any, NamedTuple, Protocol

from antiphon_testing.vendors.faults import (
    Close,
    Drop,
    Fault,
    Faults,
    Garbage,
    HalfFrame,
    Refuse,
    SlowStart,
    Stall,
)
from schemas.agent import AgentFact
from schemas.events.llm import Usage
from stages.llm.contract import (
    ChatMessage,
    Finish,
    LanguageModelProvider,
    ReplyItem,
    ReplyRequest,
    ScoredFact,
    TextDelta,
)
from stages.runtime.providers import ProviderError

WITHIN_S = 20.0  # a whole reply; the slowest local model needs about 3 s
STOPS_WITHIN_S = 1.0  # a model that was interrupted

ASKED = ReplyRequest(
    "session1",
    "You are a receptionist. Answer in one short sentence.",
    "When do you open?",
    (ChatMessage("assistant", "Good morning."), ChatMessage("user", "Hello."), ChatMessage("assistant", "Hello.")),
    (ScoredFact(0.9, AgentFact(text="We open at nine.", asks=["when do you open"]), answers=True),),
)

# Any: the options of one provider, as they stand in an agent document.
Check = Callable[[LanguageModelProvider, dict[str, Any]], Awaitable[None]]

_REASONING = re.compile(r"</?(think|thinking|reasoning)>", re.IGNORECASE)


async def texts(items: AsyncIterator[ReplyItem]) -> list[str]:
    """Return the text of every TextDelta."""
    return [item.text async for item in items if isinstance(item, TextDelta)]


async def check_declarations(provider: LanguageModelProvider, options: dict[str, Any]) -> None:
    """The provider declares its capacity and capabilities, and the model its name."""
    assert provider.capacity is None or provider.capacity >= 1, f"capacity is {provider.capacity}"
    assert isinstance(provider.capabilities.usage, bool), "capabilities.usage says whether tokens are counted"
    async with provider.open(options) as model:
        assert model.model, "model is empty: name the model, tokens are accounted under that name"


async def check_order(provider: LanguageModelProvider, options: dict[str, Any]) -> None:
    """A reply has text, at most one Usage, and ends with its only Finish."""
    items = await _reply(provider, options)
    finishes = [item for item in items if isinstance(item, Finish)]
    usages = [item for item in items if isinstance(item, Usage)]
    assert len(finishes) == 1, f"{len(finishes)} Finish items: yield exactly one"
    assert isinstance(items[-1], Finish), f"{type(items[-1]).__name__} comes behind Finish"
    assert finishes[0].reason == "stop", f"a whole reply ended with {finishes[0].reason}"
    assert any(isinstance(item, TextDelta) and item.text.strip() for item in items), "the reply has no text"
    assert len(usages) <= 1, f"{len(usages)} Usage items: add them up"
    if provider.capabilities.usage:
        assert usages, "no Usage came: declare capabilities.usage = False"
        assert usages[0].output_tokens > 0, "Usage counts no output"


async def check_no_reasoning(provider: LanguageModelProvider, options: dict[str, Any]) -> None:
    """Reasoning is never text."""
    for item in await _reply(provider, options):
        assert not (isinstance(item, TextDelta) and _REASONING.search(item.text)), "reasoning stands in the text"


async def check_resumption(provider: LanguageModelProvider, options: dict[str, Any]) -> None:
    """A request with `already_spoken` is answered."""
    asked = ReplyRequest(ASKED.session, ASKED.prompt, ASKED.utterance, already_spoken="We open")
    assert isinstance((await _reply(provider, options, asked))[-1], Finish)


async def check_close(provider: LanguageModelProvider, options: dict[str, Any]) -> None:
    """Closing a reply stops the model at once, and the next reply comes."""
    async with provider.open(options) as model:
        async with asyncio.timeout(WITHIN_S):
            reply = model.reply(ASKED)
            await anext(reply)
        async with asyncio.timeout(STOPS_WITHIN_S):
            await reply.aclose()
    await check_order(provider, options)


async def check_cancel(provider: LanguageModelProvider, options: dict[str, Any]) -> None:
    """Cancelling the task that reads a reply stops the model at once, and the next reply comes."""
    begun = asyncio.Event()

    async def read() -> None:
        async with provider.open(options) as model, aclosing(model.reply(ASKED)) as items:
            async for _ in items:
                begun.set()
                await asyncio.sleep(WITHIN_S)

    task = asyncio.create_task(read())
    async with asyncio.timeout(WITHIN_S):
        await begun.wait()
    task.cancel()
    done, _ = await asyncio.wait({task}, timeout=STOPS_WITHIN_S)
    assert done, f"the reply did not stop within {STOPS_WITHIN_S:g} s of its cancellation"
    assert task.cancelled(), "the reply swallowed its cancellation"
    await check_order(provider, options)


async def check_sessions(provider: LanguageModelProvider, options: dict[str, Any]) -> None:
    """Two sessions are answered at once, if the capacity allows two."""
    if provider.capacity == 1:
        return
    both = await asyncio.gather(_reply(provider, options), _reply(provider, options))
    assert all(isinstance(items[-1], Finish) for items in both)


async def check_options(provider: LanguageModelProvider, options: dict[str, Any]) -> None:
    """An option that the provider does not know refuses the session and is named."""
    refused = None
    try:
        async with provider.open({**options, "no_such_option": 1}):
            pass
    except ProviderError as error:
        refused = error
    assert refused, "an unknown option was accepted: use parse_options with extra='forbid'"
    assert refused.kind == "options", f"kind is {refused.kind}"
    assert "no_such_option" in str(refused), "the message does not name the option"


CHECKS: tuple[Check, ...] = (
    check_declarations,
    check_order,
    check_no_reasoning,
    check_resumption,
    check_close,
    check_cancel,
    check_sessions,
    check_options,
)


# --- faults of the vendor ---------------------------------------------------------------------------------------------

SECRET = "sk-CANARY-5f1d"  # noqa: S105 - stands in the vendor's error texts, which no message may quote
_SAID = f"the key {SECRET} may not ask: When do you open?"


class FaultCase(NamedTuple):
    """A fault, and the kinds of ProviderError that may report it; without kinds the whole reply must come.

    queued: how often the vendor plays it: an adapter may ask twice.
    """

    fault: Fault
    kinds: frozenset[str] = frozenset()
    retryable: bool = True
    queued: int = 1

    def __str__(self) -> str:
        return str(self.fault)


_CONNECTION, _READ = frozenset({"connection"}), frozenset({"connection", "server"})

FAULTS: tuple[FaultCase, ...] = (
    FaultCase(Refuse(400, code="bad", message=_SAID), frozenset({"bad_request"}), retryable=False),
    FaultCase(Refuse(401, code="invalid_api_key", message=_SAID), frozenset({"auth"}), retryable=False),
    FaultCase(Refuse(403, code="denied", message=_SAID), frozenset({"auth"}), retryable=False),
    FaultCase(Refuse(429, retry_after_s=30, message=_SAID), frozenset({"quota"})),
    FaultCase(Refuse(500, message=_SAID), frozenset({"server"}), queued=2),
    FaultCase(Refuse(503, message=_SAID)),  # once: the second try hides it
    FaultCase(Drop(), _CONNECTION, queued=2),
    FaultCase(SlowStart(0.2)),
    FaultCase(SlowStart(60.0), frozenset({"timeout"})),
    FaultCase(Stall(0), frozenset({"timeout"})),
    FaultCase(Stall(2), frozenset({"timeout"})),
    FaultCase(Close(0), frozenset({"", "connection"})),  # before the headers arrive, the second try hides it
    FaultCase(Close(2), _CONNECTION),
    FaultCase(Close(2, 1000), _CONNECTION),
    FaultCase(HalfFrame(2), _READ),
    FaultCase(Garbage(2), frozenset({"", "connection", "server"})),  # skipped, or reported
)


class FaultyVendor(Protocol):
    """The part of a stand-in that the checks use."""

    faults: Faults


async def check_fault(
    provider: LanguageModelProvider, options: dict[str, Any], vendor: FaultyVendor, case: FaultCase
) -> None:
    """A fault is one ProviderError of the right kind that quotes nothing, or unseen; the next reply comes whole."""
    whole = await _text(provider, options)
    vendor.faults.queue(*[case.fault] * case.queued)
    pieces: list[str] = []
    error: ProviderError | None = None
    try:
        async with provider.open(options) as model, asyncio.timeout(WITHIN_S):
            async for item in model.reply(ASKED):
                pieces += [item.text] if isinstance(item, TextDelta) else []
    except ProviderError as failed:
        error = failed
    kind = error.kind if error else ""
    assert kind in (case.kinds or {""}), f"{case.fault} was reported as {kind or 'a whole reply'}: {error}"
    text = "".join(pieces)
    if error is None:
        assert text == whole, f"{case.fault}: the reply reads {text!r}, not {whole!r}"
    else:
        assert whole.startswith(text), f"{case.fault}: {text!r} is no beginning of {whole!r}"
        assert error.retryable == case.retryable, f"{case.fault}: retryable is {error.retryable}"
        shown = f"{error} {error.__cause__} {'' if error.__suppress_context__ else error.__context__}"
        assert SECRET not in shown, f"{case.fault}: the error shows the key"
        assert ASKED.utterance not in shown, f"{case.fault}: the error quotes the caller"
    assert await _text(provider, options) == whole, f"{case.fault}: the next reply is not whole"


async def _text(provider: LanguageModelProvider, options: dict[str, Any]) -> str:
    return "".join([item.text for item in await _reply(provider, options) if isinstance(item, TextDelta)])


async def _reply(
    provider: LanguageModelProvider, options: dict[str, Any], request: ReplyRequest = ASKED
) -> list[ReplyItem]:
    async with provider.open(options) as model, asyncio.timeout(WITHIN_S):
        return [item async for item in model.reply(request)]
