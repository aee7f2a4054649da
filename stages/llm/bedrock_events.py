"""The events of Bedrock's ConverseStream -> the items of a reply. Pure.

Source: https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ConverseStream.html.
The header `:message-type` separates events from exceptions, which `:exception-type` names; the payload is JSON.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec

from schemas.events import ProviderErrorKind
from schemas.events.llm import Usage
from stages.llm.chat_chunks import MAX_ARGUMENTS, MOST_CALLS
from stages.llm.contract import Finish, FinishReason, Progress, ReplyItem, TextDelta, ToolCall
from stages.runtime.providers import ProviderError

_REASONS: dict[str, FinishReason] = {
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "guardrail_intervened": "content_filter",
    "content_filtered": "content_filter",
}
_EXCEPTIONS: dict[str, tuple[ProviderErrorKind, bool]] = {  # kind, and whether a later request may succeed
    "throttlingException": ("quota", True),
    "validationException": ("bad_request", False),
}


class _ToolStart(msgspec.Struct, rename="camel"):
    tool_use_id: str = ""
    name: str = ""


class _ToolInput(msgspec.Struct):
    input: str = ""


class _Start(msgspec.Struct, rename="camel"):
    tool_use: _ToolStart | None = None


class _Delta(msgspec.Struct, rename="camel"):
    """reasoning_content: text or a signature of thinking."""

    text: str = ""
    tool_use: _ToolInput | None = None
    reasoning_content: object = None


class _Counts(msgspec.Struct, rename="camel"):
    """input_tokens: those that were neither read from the cache nor written to it."""

    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_input_tokens: int = 0
    cache_write_input_tokens: int = 0


class _Payload(msgspec.Struct, rename="camel"):
    content_block_index: int = 0
    start: _Start | None = None
    delta: _Delta | None = None
    stop_reason: str = ""
    usage: _Counts | None = None


@dataclass
class BedrockEvents:
    """Reads the events of one reply."""

    _finish: FinishReason | None = None
    _usage: Usage | None = None
    _calls: dict[int, ToolCall] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        """The reply has ended; only token counts may follow."""
        return self._finish is not None

    def feed(self, headers: Mapping[str, object], payload: bytes) -> list[ReplyItem]:
        """Return the items in one event. Raises ProviderError for an exception that Bedrock reports."""
        if headers.get(":message-type") != "event":
            name = str(headers.get(":exception-type", "error"))
            kind, retryable = _EXCEPTIONS.get(name, ("server", True))
            raise ProviderError(kind, f"Bedrock reported {name}", retryable=retryable)
        try:
            event = msgspec.json.decode(payload, type=_Payload)
        except msgspec.MsgspecError:
            raise ProviderError("server", "an event of the stream cannot be read", retryable=True) from None
        if event.stop_reason:
            self._finish = _REASONS.get(event.stop_reason, "stop")
        if counts := event.usage:
            cached = counts.cache_read_input_tokens
            whole = counts.input_tokens + cached + counts.cache_write_input_tokens
            self._usage = Usage(whole, cached, counts.output_tokens)
        if event.start and event.start.tool_use and len(self._calls) < MOST_CALLS:
            self._calls[event.content_block_index] = ToolCall(
                event.start.tool_use.tool_use_id, event.start.tool_use.name, ""
            )
        if event.delta and event.delta.text:
            return [TextDelta(event.delta.text)]
        if event.delta and event.delta.tool_use:
            self._add(event.content_block_index, event.delta.tool_use.input)
        return [Progress()]

    def end(self) -> list[ReplyItem]:
        """Return the items that were held back. Raises ProviderError if the stream broke off before the reply ended."""
        if self._finish is None:
            raise ProviderError("connection", "the stream ended before the reply did", retryable=True)
        calls = [ToolCall(call.id, call.name, call.arguments or "{}") for call in self._calls.values()]
        return [*calls, *([self._usage] if self._usage else []), Finish(self._finish)]

    def _add(self, index: int, arguments: str) -> None:
        if call := self._calls.get(index):
            self._calls[index] = ToolCall(call.id, call.name, (call.arguments + arguments)[:MAX_ARGUMENTS])
