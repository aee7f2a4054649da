"""Providers by name: what a stage asks of a vendor, how one is loaded, and how one fails.

A provider is one file, `stages/<stage>/providers/<name>.py`. It offers `open_provider(context)`, an async context
manager for what all sessions of a worker share (models, warm connections), which yields an object with

- `capacity`: how many sessions it can carry at once, None for no limit of its own;
- `open(options)` (stt: `open(options, voice)`): an async context manager for one session.

Importing the file must not import its SDK's rivals: an extra that is not installed is told as ProviderMissing.
"""

import asyncio
import importlib
import pkgutil
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar, get_args

from pydantic import BaseModel, SecretStr, ValidationError

from schemas.agent import AgentFact
from schemas.events import ProviderErrorKind

Options = TypeVar("Options", bound=BaseModel)
Kind = ProviderErrorKind
Vad = Literal["auto", "silero", "script"]  # the engine of voice activity detection, a setting of stt workers
VADS: tuple[Vad, ...] = get_args(Vad)


class ProviderError(Exception):
    """The provider let us down; whatever else it raises is our bug. No secrets and no speech in the text."""

    def __init__(self, kind: Kind, message: str, *, retryable: bool = False) -> None:
        super().__init__(message)
        self.kind = kind
        self.retryable = retryable


class ProviderMissing(Exception):
    """This worker cannot offer that provider: no such name, no extra, no key. The message says what to do."""


@dataclass(frozen=True)
class ProviderContext:
    """What a provider may know of the process it runs in. keys: environment variables that hold keys and base URLs.

    vad: the engine of voice activity detection. `auto` is `script` for scripted recognizers and `silero` for others.
    """

    keys: Mapping[str, SecretStr] = field(default_factory=dict)
    weights: Path = Path("weights")
    vad: Vad = "auto"

    def key(self, variable: str) -> str:
        """The secret in `variable`; raises ProviderMissing that names it."""
        secret = self.keys.get(variable)
        if secret is None or not secret.get_secret_value():
            raise ProviderMissing(f"{variable} is not set: export {variable}=... before starting the worker")
        return secret.get_secret_value()


# --- one Protocol per kind ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Message:
    """One entry of the conversation as the caller heard it. role: `user` or `assistant`."""

    role: Literal["user", "assistant"]
    content: str


@dataclass(frozen=True)
class ReplyRequest:
    """What a language model is asked. facts: those chosen for this utterance, best first, with their scores 0 to 1."""

    session: str
    prompt: str
    utterance: str
    history: tuple[Message, ...] = ()
    facts: tuple[tuple[float, AgentFact], ...] = ()


class LanguageModel(Protocol):
    def reply(self, request: ReplyRequest) -> AsyncIterator[str]:
        """Pieces of the reply as they come. Closing the iterator (`aclose`) or cancelling stops the model at once."""


class LanguageModelProvider(Protocol):
    capacity: int | None

    def open(self, options: dict[str, Any]) -> AbstractAsyncContextManager[LanguageModel]: ...


# --- loading --------------------------------------------------------------------------------------------------------


def parse_options(model: type[Options], options: Mapping[str, Any]) -> Options:
    """`options` checked by the provider's own model; raises ProviderError that names the field."""
    try:
        return model.model_validate(options)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "options"
        raise ProviderError("options", f"option {where}: {first['msg']}") from None


def names(stage: str) -> list[str]:
    """The providers of a stage: what its folder holds."""
    package = importlib.import_module(f"stages.{stage}.providers")
    return sorted(module.name for module in pkgutil.iter_modules(package.__path__))


class Providers:
    """The providers of one worker: each opened once, when first needed, and closed with the worker."""

    def __init__(self, stage: str, context: ProviderContext) -> None:
        self._stage = stage
        self.context = context
        self._open: dict[str, Any] = {}
        self._opening = asyncio.Lock()
        self._exits = AsyncExitStack()

    async def __aenter__(self) -> "Providers":
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._exits.aclose()

    async def get(self, name: str) -> Any:
        """The opened provider; raises ProviderMissing or ProviderError."""
        async with self._opening:
            if name not in self._open:
                module = await asyncio.to_thread(self._import, name)  # SDKs take up to a second to import
                self._open[name] = await self._exits.enter_async_context(module.open_provider(self.context))
            return self._open[name]

    def opened(self, name: str) -> Any | None:
        """The provider if it is open already."""
        return self._open.get(name)

    def check(self, name: str) -> None:
        """Raises ProviderMissing unless this stage has a provider of that name; imports nothing."""
        if name not in names(self._stage):
            known = ", ".join(names(self._stage))
            raise ProviderMissing(f"{self._stage} has no provider {name!r}: it has {known}")

    def _import(self, name: str) -> Any:
        self.check(name)
        try:
            return importlib.import_module(f"stages.{self._stage}.providers.{name}")
        except ImportError as error:
            raise ProviderMissing(
                f"{self._stage} provider {name!r} needs {error.name}: pip install -e '.[{name}]'"
            ) from error
