"""The wire of Amazon Bedrock's ConverseStream.

Events: https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ConverseStream.html (messageStart,
contentBlockStart, contentBlockDelta, contentBlockStop, messageStop, metadata). Frames:
https://docs.aws.amazon.com/transcribe/latest/dg/event-stream.html (`application/vnd.amazon.eventstream`: lengths, CRC,
headers of type 7, payload, CRC).
"""

import json
import struct
from binascii import crc32
from collections.abc import Iterator

from antiphon_testing.vendors.faults import Refuse
from antiphon_testing.vendors.language_model_server import Reply

_REASONS = {"stop": "end_turn", "length": "max_tokens", "content_filter": "content_filtered"}
_STRING = 7  # the type of a header whose value is text


class BedrockWire:
    """Writes the events of ConverseStream as frames of an event stream."""

    path = "/model/{model}/converse-stream"
    base = ""
    content_type = "application/vnd.amazon.eventstream"

    def messages(self, reply: Reply) -> Iterator[bytes]:
        """Yield the start, reasoning, text and calls in blocks, the reason of the end, and the token counts."""
        yield frame("messageStart", {"role": "assistant"})
        block = 0
        for thought in reply.thoughts:
            yield _delta(block, {"reasoningContent": {"text": thought}})
        if reply.thoughts:
            yield frame("contentBlockStop", {"contentBlockIndex": block})
            block += 1
        for piece in reply.pieces:
            yield _delta(block, {"text": piece})
        yield frame("contentBlockStop", {"contentBlockIndex": block})
        for index, call in enumerate(reply.calls):
            block += 1
            start = {"toolUse": {"toolUseId": f"call_{index}", "name": call.name}}
            yield frame("contentBlockStart", {"contentBlockIndex": block, "start": start})
            half = len(call.arguments) // 2
            for part in (call.arguments[:half], call.arguments[half:]):
                yield _delta(block, {"toolUse": {"input": part}})
            yield frame("contentBlockStop", {"contentBlockIndex": block})
        yield frame("messageStop", {"stopReason": "tool_use" if reply.calls else _REASONS[reply.finish]})
        usage = {
            "inputTokens": reply.input_tokens - reply.cached_tokens,
            "cacheReadInputTokens": reply.cached_tokens,
            "cacheWriteInputTokens": 0,
            "outputTokens": reply.output_tokens,
            "totalTokens": reply.input_tokens + reply.output_tokens,
        }
        yield frame("metadata", {"usage": usage, "metrics": {"latencyMs": 1}})

    def error(self, refusal: Refuse) -> bytes:
        """Return the body of an exception; its name travels in the header `X-Amzn-ErrorType`."""
        return json.dumps({"message": refusal.message}).encode()


def frame(name: str, payload: dict[str, object], *, exception: bool = False) -> bytes:
    """Return one frame that holds an event or an exception."""
    kind, type_of = ("exception", ":exception-type") if exception else ("event", ":event-type")
    texts = {":message-type": kind, type_of: name, ":content-type": "application/json"}
    headers = b"".join(
        struct.pack("!B", len(key)) + key.encode() + struct.pack("!BH", _STRING, len(text)) + text.encode()
        for key, text in texts.items()
    )
    body = json.dumps(payload).encode()
    lengths = struct.pack("!II", 12 + len(headers) + len(body) + 4, len(headers))
    prelude = lengths + struct.pack("!I", crc32(lengths))
    return prelude + headers + body + struct.pack("!I", crc32(prelude + headers + body))


def _delta(block: int, delta: dict[str, object]) -> bytes:
    return frame("contentBlockDelta", {"contentBlockIndex": block, "delta": delta})


BEDROCK = BedrockWire()
