"""The chunks of Gemini's streamGenerateContent -> the items of a reply. Pure.

Source: https://ai.google.dev/api/generate-content (GenerateContentResponse, Part, FinishReason, UsageMetadata).
"""

from dataclasses import dataclass, field

import msgspec

from schemas.events.llm import Usage
from stages.llm.chat_chunks import MAX_ARGUMENTS, MOST_CALLS, named
from stages.llm.contract import Finish, FinishReason, Progress, ReplyItem, TextDelta, ToolCall
from stages.runtime.providers import ProviderError

# Every other reason, such as SAFETY or RECITATION, says that Google withheld the rest.
_REASONS: dict[str, FinishReason] = {
    "STOP": "stop",
    "MAX_TOKENS": "length",
    "MALFORMED_FUNCTION_CALL": "stop",
    "UNEXPECTED_TOOL_CALL": "stop",
}


class _Call(msgspec.Struct):
    name: str
    id: str = ""
    args: dict[str, object] = {}


class _Part(msgspec.Struct, rename="camel"):
    """thought: this text is reasoning."""

    text: str = ""
    thought: bool = False
    function_call: _Call | None = None


class _Content(msgspec.Struct):
    parts: list[_Part] = []


class _Candidate(msgspec.Struct, rename="camel"):
    index: int = 0
    content: _Content | None = None
    finish_reason: str = ""


class _Counts(msgspec.Struct, rename="camel"):
    prompt_token_count: int = 0
    cached_content_token_count: int = 0
    candidates_token_count: int = 0
    thoughts_token_count: int = 0


class _Feedback(msgspec.Struct, rename="camel"):
    block_reason: str = ""


class _Chunk(msgspec.Struct, rename="camel"):
    candidates: list[_Candidate] = []
    usage_metadata: _Counts | None = None
    prompt_feedback: _Feedback | None = None
    error: object = None


@dataclass
class GeminiChunks:
    """Reads the chunks of one reply. skipped: chunks of an unexpected shape."""

    skipped: int = 0
    _finish: FinishReason | None = None
    _usage: Usage | None = None
    _calls: list[ToolCall] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        """The reply has ended."""
        return self._finish is not None

    def feed(self, data: str) -> list[ReplyItem]:
        """Return the items in the data of one event. Raises ProviderError for an error that the server reports."""
        try:
            chunk = msgspec.json.decode(data, type=_Chunk)
        except (msgspec.MsgspecError, RecursionError):
            self.skipped += 1
            return []
        if chunk.error:
            raise ProviderError("server", f"the server reported an error{named(chunk.error)}", retryable=True)
        if counts := chunk.usage_metadata:  # each chunk has the sums so far
            output = counts.candidates_token_count + counts.thoughts_token_count
            self._usage = Usage(counts.prompt_token_count, counts.cached_content_token_count, output)
        if chunk.prompt_feedback and chunk.prompt_feedback.block_reason:
            self._finish = "content_filter"
        return [item for candidate in chunk.candidates if not candidate.index for item in self._read(candidate)]

    def end(self) -> list[ReplyItem]:
        """Return the items that were held back. Raises ProviderError if the stream broke off before the reply ended."""
        if self._finish is None:
            if self.skipped:
                raise ProviderError("server", f"{self.skipped} chunks of the reply cannot be read", retryable=True)
            raise ProviderError("connection", "the stream ended before the reply did", retryable=True)
        reason: FinishReason = "tool_calls" if self._calls and self._finish == "stop" else self._finish
        return [*self._calls, *([self._usage] if self._usage else []), Finish(reason)]

    def _read(self, candidate: _Candidate) -> list[ReplyItem]:
        if candidate.finish_reason:
            self._finish = _REASONS.get(candidate.finish_reason, "content_filter")
        items: list[ReplyItem] = []
        for part in candidate.content.parts if candidate.content else ():
            if part.function_call and len(self._calls) < MOST_CALLS:
                arguments = msgspec.json.encode(part.function_call.args).decode()[:MAX_ARGUMENTS]
                self._calls.append(ToolCall(part.function_call.id, part.function_call.name, arguments))
            items.append(TextDelta(part.text) if part.text and not part.thought else Progress())
        return items
