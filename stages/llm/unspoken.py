"""Takes reasoning and tool calls out of a model's text, which comes in pieces. Pure.

Models without a parser on their server write both into the content: `<think>...</think>`, or a tool call as JSON, in a
tag, in a code fence or bare. Where the text is cut makes no difference. Text that only begins like one of these is
spoken once that is known.
"""

import json
import re
from dataclasses import dataclass, field

from stages.llm.contract import ToolCall

LONGEST_TAG = 20  # characters of a closing tag
MAX_HELD = 8_000  # characters of one JSON text; a tool call that is longer is dropped unread

_REASONING = ("think", "thinking", "thought", "reasoning")
_CALLS = ("tool_call", "tool_calls", "function_call", "tool_use")
_NAMES = "|".join((*_REASONING, *_CALLS))
_TAG_OPENS = re.compile(rf"<\|?({_NAMES})\b[^<>]{{0,100}}>", re.IGNORECASE)
_TAG_CLOSES = re.compile(rf"</\|?({_NAMES})\s*>", re.IGNORECASE)
_MARKER = re.compile(r"\[TOOL_CALLS\]|<\|python_tag\|>")  # of Mistral and Llama, before JSON
_FENCE = re.compile(r"```\w*\s*(?=[\[{])")
_FENCE_ENDS = re.compile(r"\s*```")
_JSON = re.compile(r"[\[{]")
_START = re.compile("|".join(one.pattern for one in (_TAG_OPENS, _TAG_CLOSES, _MARKER, _FENCE, _JSON)), re.IGNORECASE)
# The end of a piece that may become the beginning of one of these.
_FENCE_BEGINS = re.compile(r"`{1,3}\w{0,12}\s*\Z")
_TAG_GOES_ON = re.compile(rf"(?:<\|?(?:{_NAMES})\b[^<>]{{0,100}}|</\|?(?:{_NAMES})\s*)\Z", re.IGNORECASE)
_HEADS = tuple(f"{left}{name}" for left in ("<", "<|", "</", "</|") for name in (*_REASONING, *_CALLS))
_MARKERS = ("[TOOL_CALLS]", "<|python_tag|>")
_DECODER = json.JSONDecoder()


@dataclass
class Unspoken:
    """The filter of one reply. calls: tool calls that were found in the text. reasoned: reasoning was found."""

    calls: list[ToolCall] = field(default_factory=list)
    reasoned: bool = False
    _rest: str = ""
    _within: str = ""  # the tag that is open

    def feed(self, piece: str) -> str:
        """Return the text that may be spoken, as far as that is known."""
        self._rest += piece
        return self._take(ended=False)

    def flush(self) -> str:
        """Return what is left of the text when the reply has ended."""
        return self._take(ended=True)

    def _take(self, *, ended: bool) -> str:
        spoken = ""
        while True:
            if self._within and not self._skip(ended=ended):
                return spoken
            found = _START.search(self._rest)
            if not found:
                cut = len(self._rest) if ended else _undecided(self._rest)
                spoken, self._rest = spoken + self._rest[:cut], self._rest[cut:]
                return spoken
            spoken, self._rest = spoken + self._rest[: found.start()], self._rest[found.start() :]
            text = self._begin(ended=ended)
            if text is None:
                return spoken
            spoken += text

    def _begin(self, *, ended: bool) -> str | None:
        """Return the text to speak of what begins here, None if more has to come first."""
        if tag := _TAG_OPENS.match(self._rest):
            self._within, self._rest = tag[1].lower(), self._rest[tag.end() :]
            self.reasoned = self.reasoned or self._within in _REASONING
            return ""
        if tag := _TAG_CLOSES.match(self._rest):  # the server's template had opened it
            self._rest = self._rest[tag.end() :]
            return ""
        if not ended and _begins_one_of(_MARKERS, self._rest):
            return None
        lead = _MARKER.match(self._rest) or _FENCE.match(self._rest)
        return self._json(lead.end() if lead else 0, ended=ended)

    def _skip(self, *, ended: bool) -> bool:
        """Drop what stands within the open tag; False if its end has not come."""
        end = re.search(rf"</\|?{self._within}\s*>", self._rest, re.IGNORECASE)
        if self._within in _CALLS and (end or ended):
            self.calls.append(_call_in(self._rest[: end.start()] if end else self._rest))
        if not end:
            if self._within in _REASONING or len(self._rest) > MAX_HELD:
                self._rest = self._rest[-LONGEST_TAG:]  # the closing tag may have begun
            self._rest = "" if ended else self._rest
            return False
        self._rest, self._within = self._rest[end.end() :], ""
        return True

    def _json(self, at: int, *, ended: bool) -> str | None:
        rest = self._rest
        try:
            value, end = _DECODER.raw_decode(rest, at)
        except json.JSONDecodeError as error:
            if not ended and len(rest) - at <= MAX_HELD and _incomplete(rest, error):
                return None
            if _looks_like_call(rest[at:]):
                self.calls.append(_call_in(rest[at:]))
                self._rest = ""
                return ""
            self._rest = rest[at + 1 :]
            return rest[: at + 1]
        call = _call_of(value)
        if call is None:
            self._rest = rest[end:]
            return rest[:end]
        if rest.startswith("```"):
            closing = _FENCE_ENDS.match(rest, end)
            if not closing and not ended and not rest[end:].strip(" \n`"):
                return None
            end = closing.end() if closing else end
        self.calls.append(call)
        self._rest = rest[end:]
        return ""


def _undecided(text: str) -> int:
    """Return where the end of `text` begins that more text may turn into a tag, a marker or a fence."""
    at = max(text.rfind("<"), text.rfind("["))
    if at >= 0 and (_TAG_GOES_ON.match(text, at) or _begins_one_of((*_HEADS, *_MARKERS), text[at:])):
        return at
    fence = _FENCE_BEGINS.search(text)
    return fence.start() if fence else len(text)


def _begins_one_of(wholes: tuple[str, ...], text: str) -> bool:
    return any(whole.lower().startswith(text.lower()) and whole.lower() != text.lower() for whole in wholes)


def _incomplete(text: str, error: json.JSONDecodeError) -> bool:
    """Whether more text may still make JSON of it."""
    return error.pos >= len(text.rstrip()) or error.msg.startswith(("Unterminated string", "Invalid \\"))


def _looks_like_call(text: str) -> bool:
    return bool(re.match(r'[\[{]\s*\{?\s*"(?:name|function|tool|type)"\s*:', text)) and bool(
        re.search(r'"(?:arguments|parameters|input)"', text)
    )


def _call_of(value: object) -> ToolCall | None:
    """Return the tool call that a JSON value describes, the first of a list; None for other JSON."""
    if isinstance(value, list) and value:
        return _call_of(value[0])
    if not isinstance(value, dict):
        return None
    if isinstance(value.get("function"), dict):
        return _call_of(value["function"])
    name = value.get("name") or value.get("tool") or value.get("function")
    for key in ("arguments", "parameters", "input"):
        if isinstance(name, str) and key in value:
            arguments = value[key]
            return ToolCall("", name, arguments if isinstance(arguments, str) else json.dumps(arguments))
    return None


def _call_in(text: str) -> ToolCall:
    """Return the tool call that `text` holds, without a name if it cannot be read."""
    start = _JSON.search(text)
    try:
        value, _ = _DECODER.raw_decode(text, start.start()) if start else (None, 0)
    except json.JSONDecodeError:
        value = None
    return _call_of(value) or ToolCall("", "", "")
