"""The providers of a worker: what each declares, how one fails, and the registry that opens and closes them.

A provider is one file, `stages/<stage>/providers/<name>.py`. The file defines `open_provider(context)`, an async
context manager for what the sessions of a worker share: models and warm connections. It yields a `Provider`, whose
further methods are the stage's contract.
"""

import asyncio
import importlib
import pkgutil
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, Literal, Protocol, TypeVar, cast, get_args

import structlog
from pydantic import BaseModel, ValidationError

from schemas.events.envelope import ProviderErrorKind
from schemas.provider_keys import PrivateHosts, ProviderKeys
from stages.runtime.provider_health import ProviderHealth

OPEN_WITHIN_S = 30.0  # the slowest local model needs about 10 s to load on a busy machine
CLOSE_WITHIN_S = 3.0  # a vendor that does not answer a goodbye must not keep the process alive

AGENT_LANGUAGE = "agent.language"  # the key of the agent's language among the options; no option has a dot in its name

Options = TypeVar("Options", bound=BaseModel)
Vad = Literal["auto", "silero", "script"]  # the engine of voice activity detection, a setting of stt workers
VADS: tuple[Vad, ...] = get_args(Vad)

log = structlog.get_logger("providers")


class ProviderError(Exception):
    """A provider failed: its service, its network or its options. The message holds no secret and no speech.

    retryable: a later request may succeed. retry_after_s: the provider asked to wait this many seconds.
    Any other exception that a provider raises counts as a defect of its adapter.
    """

    def __init__(
        self, kind: ProviderErrorKind, message: str, *, retryable: bool = False, retry_after_s: float | None = None
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.retryable = retryable
        self.retry_after_s = retry_after_s


class ProviderMissing(Exception):
    """This worker cannot offer the provider: the name, an extra or a key is missing. The message names the remedy."""


@dataclass(frozen=True)
class ProviderContext:
    """The parts of its process that a provider may use.

    keys: secrets, each with the hosts that may receive it. private: hosts beside the public ones that documents may
    name. weights: the folder of model files. HTTP through `stages/runtime/vendor_http.py` keeps to the first two.
    vad: the engine of voice activity detection. `auto` is `script` for scripted recognizers and `silero` for others.
    """

    keys: ProviderKeys = field(default_factory=ProviderKeys)
    private: PrivateHosts = field(default_factory=PrivateHosts)
    weights: Path = Path("weights")
    vad: Vad = "auto"


class Provider(Protocol):
    """The part that all kinds share."""

    @property
    def capacity(self) -> int | None:
        """The number of sessions that one worker's provider carries, None for no limit of its own."""


# --- loading --------------------------------------------------------------------------------------------------------

P = TypeVar("P", bound=Provider)
T = TypeVar("T")
P_co = TypeVar("P_co", bound=Provider, covariant=True)


class ProviderModule(Protocol[P_co]):
    """A provider's file."""

    def open_provider(self, context: ProviderContext) -> AbstractAsyncContextManager[P_co]: ...


def parse_options(model: type[Options], options: Mapping[str, Any]) -> Options:
    """Return `options` checked by the provider's own model; raises ProviderError that names the field.

    A model with a field `language` gets the agent's language there if the document's options name none.
    Any: this is the edge at which options of an agent document get their types.
    """
    given = dict(options)
    language = given.pop(AGENT_LANGUAGE, None)
    if language is not None and "language" in model.model_fields:
        given.setdefault("language", language)
    try:
        return model.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "options"
        raise ProviderError("options", f"option {where}: {first['msg'].removeprefix('Value error, ')}") from None


def names(stage: str) -> list[str]:
    """Return the names of a stage's providers: the modules in its folder."""
    package = importlib.import_module(f"stages.{stage}.providers")
    return sorted(module.name for module in pkgutil.iter_modules(package.__path__))


class Providers(Generic[P]):
    """The providers of one worker, each opened when a session first needs it and closed with the worker.

    Each provider lives in a task of the registry, which opens and closes it: a session that is cancelled while it waits
    takes no provider from the others. Every provider has its own deadline. One that failed to open is tried again for
    the next session.
    """

    def __init__(
        self,
        stage: str,
        context: ProviderContext,
        *,
        open_within_s: float = OPEN_WITHIN_S,
        close_within_s: float = CLOSE_WITHIN_S,
        health: ProviderHealth | None = None,
        last_resorts: tuple[str, ...] = (),
    ) -> None:
        """health: None gives this registry breakers of its own. last_resorts: names, first choice first."""
        self.context = context
        self.stage = stage
        self.health = health or ProviderHealth()
        self.last_resorts = last_resorts
        self._open_within_s = open_within_s
        self._close_within_s = close_within_s
        self._entries: dict[str, OwnedContext[P]] = {}

    async def __aenter__(self) -> "Providers[P]":
        return self

    async def __aexit__(self, *exc: object) -> None:
        """Close every provider, the last one opened first."""
        for name, entry in reversed(list(self._entries.items())):
            if not await entry.close(self._close_within_s):
                log.warning("provider did not close", stage=self.stage, provider=name)
        self._entries.clear()

    async def get(self, name: str) -> P:
        """Return the opened provider, and open it first if need be. Raises ProviderMissing or ProviderError."""
        entry = self._entries.get(name)
        if entry is None or entry.failed:
            self._entries.pop(name, None)  # the order of this dict is the order of opening
            entry = self._entries[name] = OwnedContext(
                lambda: self._open(name), self._open_within_s, f"{self.stage} {name}"
            )
        return await asyncio.shield(entry.opened)

    def opened(self, name: str) -> P | None:
        """Return the provider if it is open already."""
        entry = self._entries.get(name)
        return entry.value if entry else None

    def check(self, name: str) -> None:
        """Raise ProviderMissing unless this stage has a provider of that name; imports nothing."""
        if name not in names(self.stage):
            known = ", ".join(names(self.stage))
            raise ProviderMissing(f"{self.stage} has no provider {name!r}: it has {known}")

    async def _open(self, name: str) -> AbstractAsyncContextManager[P]:
        module = await asyncio.to_thread(self._import, name)  # an SDK takes up to a second to import
        return module.open_provider(self.context)

    def _import(self, name: str) -> ProviderModule[P]:
        self.check(name)
        try:
            # The cast is the loading edge: a stage's contract says what its folder's modules yield.
            return cast("ProviderModule[P]", importlib.import_module(f"stages.{self.stage}.providers.{name}"))
        except ImportError as error:
            raise ProviderMissing(
                f"{self.stage} provider {name!r} needs {error.name}: pip install -e '.[{name}]'"
            ) from error


class OwnedContext(Generic[T]):
    """A context manager and the task in which it opens, lives and closes. opened: resolves when it is open, or failed.

    No session that is cancelled while it waits closes it, and it closes in the task in which it opened.
    """

    def __init__(
        self, load: Callable[[], Awaitable[AbstractAsyncContextManager[T]]], open_within_s: float, title: str
    ) -> None:
        """load: makes the context manager; its time does not count. title: names it in logs and errors."""
        self.opened: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self.opened.add_done_callback(_retrieve)
        self._closing = asyncio.Event()
        self._title = title
        self._task = asyncio.create_task(self._live(load, open_within_s), name=f"provider {title}")

    @property
    def failed(self) -> bool:
        """Whether it did not open."""
        return self.opened.done() and (self.opened.cancelled() or self.opened.exception() is not None)

    @property
    def value(self) -> T | None:
        """Return what it yielded; None until it is open."""
        return self.opened.result() if self.opened.done() and not self.failed else None

    async def close(self, within_s: float) -> bool:
        """Let it close, by force after `within_s`. False: it took force."""
        self._closing.set()
        if not self.opened.done():  # no session needs it any more
            self._task.cancel()
        await asyncio.wait({self._task}, timeout=within_s)
        if self._task.done():
            return True
        self._task.cancel()
        await asyncio.wait({self._task}, timeout=within_s)
        return False

    async def _live(self, load: Callable[[], Awaitable[AbstractAsyncContextManager[T]]], open_within_s: float) -> None:
        deadline: asyncio.Timeout | None = None
        try:
            async with AsyncExitStack() as exits:
                opening = await load()  # outside the deadline: no timeout ends an import in a thread
                async with asyncio.timeout(open_within_s) as deadline:
                    provider = await exits.enter_async_context(opening)
                self.opened.set_result(provider)
                await self._closing.wait()
        except Exception as error:  # noqa: BLE001 - the sessions that wait for this provider get it
            if self.opened.done():
                log.warning("provider failed to close", provider=self._title, error=type(error).__name__)
            elif isinstance(error, TimeoutError) and deadline and deadline.expired():
                self.opened.set_exception(
                    ProviderError("timeout", f"{self._title} did not open within {open_within_s:g} s", retryable=True)
                )
            else:
                self.opened.set_exception(error)
        finally:
            if not self.opened.done():
                self.opened.set_exception(ProviderError("connection", "this worker is closing", retryable=True))


def _retrieve(opened: "asyncio.Future[T]") -> None:
    """Mark a failure as seen: every session that waited may be gone, and asyncio would report it as lost."""
    if not opened.cancelled():
        opened.exception()
