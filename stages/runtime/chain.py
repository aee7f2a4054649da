"""The providers of one session in the order of its document: opens the first that works, and another when it fails.

    chain = ProviderChain(providers, agent, agent.llm, open_one)
    async with chain:
        tried: set[int] = set()
        while (used := await chain.open_next(tried, report)) is not None:
            try:
                ... use used.value ...
                chain.succeeded(used)
                break
            except ProviderError as error:
                report(chain.failed(used, error))

The chain skips a provider that does not open and one that the fleet avoids (stages/runtime/breakers.py). With none left
it tries the avoided ones, too: a caller hears something rather than nothing. Behind the providers of the document stand
the worker's last resorts, for failures of a vendor; they never hide a fault of the document.
"""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, Generic, NamedTuple, TypeVar
from urllib.parse import urlsplit

from schemas.agent import AgentDocument, ProviderChoice
from schemas.breakers import BreakerKey
from stages.runtime.options import session_options
from stages.runtime.providers import (
    CLOSE_WITHIN_S,
    OwnedContext,
    Provider,
    ProviderError,
    ProviderMissing,
    Providers,
    names,
)

OPEN_SESSION_WITHIN_S = 10.0  # adapters have shorter deadlines of their own; this ends one that hangs

P = TypeVar("P", bound=Provider)
T = TypeVar("T")
# Any: options of a document, which the adapter checks.
Opener = Callable[[P, Mapping[str, Any]], AbstractAsyncContextManager[T]]


class Failure(NamedTuple):
    """A provider of the chain failed. next: the provider that the session goes on with, "" if none is left."""

    provider: str
    error: ProviderError
    next: str


Report = Callable[[Failure], None]


@dataclass(frozen=True)
class InUse(Generic[T]):
    """An open provider of a session. value: what the opener yielded, such as a Recognizer."""

    choice: ProviderChoice
    value: T
    index: int
    tried: set[int]


@dataclass
class _Link(Generic[T]):
    choice: ProviderChoice
    key: BreakerKey
    is_last_resort: bool
    opened: OwnedContext[T] | None = field(default=None)


class ProviderChain(Generic[P, T]):
    """The chain of one session. Each provider opens and closes in a task of its own, and stays open while it works."""

    def __init__(
        self,
        providers: Providers[P],
        agent: AgentDocument,
        choice: ProviderChoice,
        open_one: Opener[P, T],
    ) -> None:
        """open_one: opens a provider for the session, from its options."""
        self._providers = providers
        self._agent = agent
        self._open_one = open_one
        self._vendor_failed = False
        self._closing: set[asyncio.Task[bool]] = set()
        self._links = self._make_links(choice)

    async def __aenter__(self) -> "ProviderChain[P, T]":
        return self

    async def __aexit__(self, *exc: object) -> None:
        """Close every provider of the session."""
        for link in self._links:
            self._close(link)
        if self._closing:
            await asyncio.wait(self._closing, timeout=CLOSE_WITHIN_S)

    async def open_first(self, report: Report) -> InUse[T]:
        """Open the first provider that works, as the session opens. report: called with each one that does not.

        Raises the ProviderMissing or ProviderError of the first choice if none works.
        """
        tried: set[int] = set()
        errors: list[ProviderError | ProviderMissing] = []
        used = await self._open_next(tried, report, errors, may_attempt=False)
        if used is None:
            raise errors[0]
        return used

    async def open_next(self, tried: set[int], report: Report) -> InUse[T] | None:
        """Open the first provider that is not in `tried`, add it there, and return it; None if none is left.

        report: called with each one that does not open.
        """
        return await self._open_next(tried, report, [], may_attempt=True)

    def succeeded(self, used: InUse[T]) -> None:
        """Note that a provider did its work."""
        self._providers.health.succeeded(self._links[used.index].key)

    def failed(self, used: InUse[T], error: ProviderError) -> Failure:
        """Note that a provider failed. It is closed, and opened anew if it is used again."""
        return self._failed(self._links[used.index], error, used.tried)

    def names_another(self, tried: set[int]) -> bool:
        """Whether the document names a provider that is not in `tried`."""
        return any(index not in tried and not link.is_last_resort for index, link in enumerate(self._links))

    # --- opening ------------------------------------------------------------------------------------------------------

    async def _open_next(
        self, tried: set[int], report: Report, errors: list[ProviderError | ProviderMissing], *, may_attempt: bool
    ) -> InUse[T] | None:
        for avoiding in (True, False):
            for index, link in enumerate(self._links):
                if index in tried or (link.is_last_resort and not self._vendor_failed):
                    continue
                if avoiding and not await self._admitted(link, may_attempt=may_attempt):
                    continue
                tried.add(index)
                try:
                    return InUse(link.choice, await self._open(link), index, tried)
                except (ProviderError, ProviderMissing) as error:
                    errors.append(error)
                    failure = self._failed(link, _as_provider_error(error), tried)
                    if not (link.is_last_resort and failure.error.kind == "options"):  # not installed, or without a key
                        report(failure)
        return None

    async def _admitted(self, link: _Link[T], *, may_attempt: bool) -> bool:
        health = self._providers.health
        return await health.admit(link.key) if may_attempt else health.is_used(link.key)

    async def _open(self, link: _Link[T]) -> T:
        if link.opened is not None and not link.opened.failed:
            return await asyncio.shield(link.opened.opened)
        provider = await self._providers.get(link.choice.provider)
        options = session_options(self._agent, link.choice)

        async def load() -> AbstractAsyncContextManager[T]:
            return self._open_one(provider, options)

        title = f"{link.key.stage} {link.choice.provider}"
        link.opened = OwnedContext(load, OPEN_SESSION_WITHIN_S, title)
        return await asyncio.shield(link.opened.opened)

    # --- failing ------------------------------------------------------------------------------------------------------

    def _failed(self, link: _Link[T], error: ProviderError, tried: set[int]) -> Failure:
        self._close(link)
        self._providers.health.failed(link.key, error.kind, error.retry_after_s)
        self._vendor_failed = self._vendor_failed or error.kind != "options"
        return Failure(link.choice.provider, error, self._upcoming(tried))

    def _upcoming(self, tried: set[int]) -> str:
        """Return the name of the provider that `open_next` will try."""
        left = [link for index, link in enumerate(self._links) if index not in tried]
        left = [link for link in left if self._vendor_failed or not link.is_last_resort]
        healthy = [link for link in left if self._providers.health.is_used(link.key)]
        return next((link.choice.provider for link in healthy or left), "")

    def _close(self, link: _Link[T]) -> None:
        opened, link.opened = link.opened, None
        if opened is not None:
            closing = asyncio.create_task(opened.close(CLOSE_WITHIN_S))
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)

    def _make_links(self, choice: ProviderChoice) -> list[_Link[T]]:
        named = [(one, False) for one in choice.chain]
        known = names(self._providers.stage)
        left = [name for name in self._providers.last_resorts if name in known]
        left = [name for name in left if all(name != one.provider for one in choice.chain)]
        last = [(ProviderChoice(provider=name), True) for name in left]
        return [_Link(one, self._key(one), is_last_resort) for one, is_last_resort in named + last]

    def _key(self, choice: ProviderChoice) -> BreakerKey:
        return BreakerKey(self._providers.stage, choice.provider, _host(choice.options.get("base_url")))


def _host(url: object) -> str:
    try:
        return urlsplit(url).netloc.rpartition("@")[2].lower() if isinstance(url, str) else ""
    except ValueError:  # the adapter refuses such a URL
        return ""


def _as_provider_error(error: ProviderError | ProviderMissing) -> ProviderError:
    return error if isinstance(error, ProviderError) else ProviderError("options", str(error))
