"""The chunks of a streamed chat completion -> the items of a reply. Pure.

Compatible servers differ, so nothing here raises for a chunk of an unexpected shape: such a chunk is counted and
skipped. Only an error that the server reports ends the reply.
"""

import re
from dataclasses import dataclass, field

import msgspec

from schemas.events.llm import Usage
from stages.llm.contract import Finish, FinishReason, Progress, ReplyItem, TextDelta, ToolCall
from stages.llm.unspoken import Unspoken
from stages.runtime.providers import ProviderError

DONE = "[DONE]"
MOST_CALLS = 16  # of one reply; more are dropped
MAX_ARGUMENTS = 20_000  # characters of one call

_CODE = re.compile(r"[a-z0-9_.-]{1,64}")
_REASONS: dict[str, FinishReason] = {
    "length": "length",
    "max_tokens": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
}


class _Function(msgspec.Struct):
    name: str | None = None
    arguments: str | None = None


class _Call(msgspec.Struct):
    index: int | None = None
    id: str | None = None
    function: _Function | None = None


class _Delta(msgspec.Struct):
    """content: text, or a list of parts. The two fields of reasoning are those of DeepSeek and of OpenRouter."""

    content: object = None
    refusal: str | None = None
    reasoning_content: object = None
    reasoning: object = None
    tool_calls: list[_Call] | None = None


class _Choice(msgspec.Struct):
    """message: what a server sends in place of a delta when it does not stream."""

    index: int | None = None
    delta: _Delta | None = None
    message: _Delta | None = None
    finish_reason: str | None = None


class _Part(msgspec.Struct):
    type: str = "text"
    text: str = ""


class _Details(msgspec.Struct):
    cached_tokens: int | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    prompt_tokens_details: _Details | None = None


class _Chunk(msgspec.Struct):
    choices: list[_Choice] | None = None
    usage: object = None
    x_groq: object = None
    error: object = None


@dataclass
class ChatChunks:
    """Reads the chunks of one reply. skipped: chunks of an unexpected shape."""

    skipped: int = 0
    _finish: FinishReason | None = None
    _done: bool = False
    _usage: Usage | None = None
    _answered: bool = False  # anything of a reply has come
    _calls: dict[int, ToolCall] = field(default_factory=dict)
    _unspoken: Unspoken = field(default_factory=Unspoken)

    @property
    def complete(self) -> bool:
        """The reply has ended; only token counts may follow."""
        return self._done or self._finish is not None

    def feed(self, data: str) -> list[ReplyItem]:
        """Return the items in the data of one event. Raises ProviderError for an error that the server reports."""
        if data.strip() == DONE:
            self._done = True
            return []
        try:
            chunk = msgspec.json.decode(data, type=_Chunk)
        except (msgspec.MsgspecError, RecursionError):
            self.skipped += 1
            return []
        if chunk.error:
            raise ProviderError("server", f"the server reported an error{named(chunk.error)}", retryable=True)
        self._usage = _usage(chunk.usage) or _groq(chunk.x_groq) or self._usage
        items: list[ReplyItem] = []
        for choice in chunk.choices or ():
            if not choice.index:  # the other choices are alternatives that the request did not ask for
                items += self._read(choice)
        return items

    def end(self) -> list[ReplyItem]:
        """Return the items that were held back. Raises ProviderError if the stream broke off before the reply ended."""
        if self._finish is None and not (self._done and self._answered):
            if self.skipped:
                raise ProviderError("server", f"{self.skipped} chunks of the reply cannot be read", retryable=True)
            raise ProviderError("connection", "the stream ended before the reply did", retryable=True)
        text = self._unspoken.flush()
        items: list[ReplyItem] = [TextDelta(text)] if text else []
        items += self._calls.values()
        items += self._unspoken.calls
        if self._usage:
            items.append(self._usage)
        return [*items, Finish(self._finish or "stop")]

    def _read(self, choice: _Choice) -> list[ReplyItem]:
        if choice.finish_reason:
            self._finish = _REASONS.get(choice.finish_reason, "stop")
        delta = choice.delta or choice.message
        if delta is None:
            return []
        for call in delta.tool_calls or ():
            self._add(call)
        text, reasons = _texts(delta.content)
        text += delta.refusal or ""
        self._answered = self._answered or bool(text or self._calls)
        spoken = self._unspoken.feed(text)
        if spoken:
            return [TextDelta(spoken)]
        return [Progress()] if text or reasons or delta.tool_calls or delta.reasoning_content or delta.reasoning else []

    def _add(self, call: _Call) -> None:
        """Join the parts of a tool call, which come by index; a server without indexes sends each call whole."""
        index = len(self._calls) if call.index is None else call.index
        if index not in self._calls and len(self._calls) >= MOST_CALLS:
            return
        known = self._calls.get(index, ToolCall("", "", ""))
        function = call.function or _Function()
        arguments = (known.arguments + (function.arguments or ""))[:MAX_ARGUMENTS]
        self._calls[index] = ToolCall(call.id or known.id, known.name or function.name or "", arguments)


def named(error: object) -> str:
    """Return the code of an error that a server reports, as " (code)"; never its text, which may quote the caller."""
    fields = error if isinstance(error, dict) else {}
    for name in ("code", "type", "status"):  # the last is Google's, whose `code` is the HTTP status
        code = fields.get(name)
        if isinstance(code, str) and _CODE.fullmatch(code.lower()):
            return f" ({code.lower()})"
    return ""


def _texts(content: object) -> tuple[str, bool]:
    """Return the text of a content, and whether it holds reasoning."""
    if isinstance(content, str):
        return content, False
    text, reasons = "", False
    for one in content if isinstance(content, list) else ():
        try:
            part = msgspec.convert(one, _Part)
        except msgspec.ValidationError:
            reasons = True  # a part of thinking holds parts of its own
            continue
        if part.type in ("text", "output_text"):
            text += part.text
        else:
            reasons = True
    return text, reasons


def _usage(value: object) -> Usage | None:
    try:
        usage = msgspec.convert(value, _Usage)
    except msgspec.ValidationError:
        return None
    cached = usage.prompt_tokens_details.cached_tokens if usage.prompt_tokens_details else None
    return Usage(usage.prompt_tokens or 0, cached or 0, usage.completion_tokens or 0)


def _groq(value: object) -> Usage | None:
    """Groq counts the tokens of some models in a field of its own."""
    usage = value.get("usage") if isinstance(value, dict) else None
    return _usage(usage) if usage else None
