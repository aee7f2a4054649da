"""What the llm stage asks of a language model: one request in, a stream of typed items out. Pure."""

from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol

import msgspec

from schemas.agent import AgentFact
from schemas.events.llm import Usage
from stages.runtime.providers import Provider, ProviderError

SILENT_S = 10.0  # a model without an item for this long will not save the turn: the stage ends its reply

FinishReason = Literal["stop", "length", "tool_calls", "content_filter"]


class ChatMessage(msgspec.Struct, frozen=True):
    """One entry of the conversation as the caller heard it."""

    role: Literal["user", "assistant"]
    content: str


class Tool(msgspec.Struct, frozen=True):
    """A function that the model may call. parameters: the JSON Schema of its arguments."""

    name: str
    description: str
    parameters: dict[str, object]


class ScoredFact(NamedTuple):
    """A fact and how well it fits the caller's words, from 0 to 1. answers: it is the answer, or a part of it."""

    score: float
    fact: AgentFact
    answers: bool = False


@dataclass(frozen=True)
class ReplyRequest:
    """The question to a language model.

    utterance: the caller's words that the reply answers. history: the conversation before them, oldest first.
    facts: those chosen for this utterance, the answering ones first. tools: those the model may call.
    already_spoken: the beginning of this reply, which the caller has heard; the model continues behind it.
    """

    session: str
    prompt: str
    utterance: str
    history: tuple[ChatMessage, ...] = ()
    facts: tuple[ScoredFact, ...] = ()
    tools: tuple[Tool, ...] = ()
    already_spoken: str = ""


class TextDelta(msgspec.Struct, frozen=True):
    """More text of the reply, of any length. It may hold Markdown, but no reasoning and no tool call."""

    text: str


class Progress(msgspec.Struct, frozen=True):
    """A sign of life without text: the model reasons, or the server keeps the connection alive."""


class ToolCall(msgspec.Struct, frozen=True):
    """The model calls a tool. arguments: a JSON object as text; the model may have made it up."""

    id: str
    name: str
    arguments: str


class Finish(msgspec.Struct, frozen=True):
    """The reply has ended, by itself or at a limit. The last item; a stream without one must raise ProviderError."""

    reason: FinishReason = "stop"


ReplyItem = TextDelta | Progress | ToolCall | Usage | Finish


class ContextTooLong(ProviderError):
    """The request is longer than the model can read: a shorter history may fit."""

    def __init__(self, message: str) -> None:
        super().__init__("bad_request", message)


@dataclass(frozen=True)
class Capabilities:
    """The optional abilities of a language model. usage: counts tokens. tools: calls the tools of a request."""

    usage: bool = False
    tools: bool = False


class LanguageModel(Protocol):
    """The model of one session."""

    @property
    def model(self) -> str:
        """The name under which tokens are accounted."""

    def reply(self, request: ReplyRequest) -> AsyncGenerator[ReplyItem, None]:
        """Yield the reply as it is written, and at most one Usage before Finish. Raises ProviderError.

        Closing the generator (`aclose`) or cancelling its task stops the model at once.
        """


class LanguageModelProvider(Provider, Protocol):
    """The language models of one worker."""

    @property
    def capabilities(self) -> Capabilities: ...

    def open(self, options: dict[str, Any]) -> AbstractAsyncContextManager[LanguageModel]:
        """Open the model of one session. Raises ProviderError or ProviderMissing.

        Any: options come from an agent document and get their types here, by `parse_options`. That fills an option
        `language` with the agent's language, where the adapter declares one (stages/runtime/options.py).
        """
