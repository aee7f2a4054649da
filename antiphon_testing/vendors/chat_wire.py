"""The wire of chat completions: OpenAI, Cerebras, Groq and every server of that API.

Chunks: https://platform.openai.com/docs/api-reference/chat-streaming (`chat.completion.chunk`; the last one has empty
`choices` and the `usage`, then `[DONE]`). Reasoning in `delta.reasoning`: https://console.groq.com/docs/reasoning.
Errors: https://platform.openai.com/docs/guides/error-codes.
"""

import json
from collections.abc import Iterator

from antiphon_testing.vendors.faults import Refuse
from antiphon_testing.vendors.language_model_server import Reply
from antiphon_testing.vendors.openai_server import event


class ChatWire:
    """Writes chat completion chunks as server-sent events."""

    path = "/v1/chat/completions"
    base = "/v1"
    content_type = "text/event-stream"

    def messages(self, reply: Reply) -> Iterator[bytes]:
        """Yield the role, reasoning, text, calls, the reason of the end, the token counts, and the last word."""
        yield event({"delta": {"role": "assistant", "content": ""}})
        for thought in reply.thoughts:
            yield event({"delta": {"reasoning": thought}})
        for piece in reply.pieces:
            yield event({"delta": {"content": piece}})
        for index, call in enumerate(reply.calls):
            half = len(call.arguments) // 2
            function = {"name": call.name, "arguments": call.arguments[:half]}
            yield event(
                {
                    "delta": {
                        "tool_calls": [
                            {"index": index, "id": f"call_{index}", "type": "function", "function": function}
                        ]
                    }
                }
            )
            rest = {"index": index, "function": {"arguments": call.arguments[half:]}}
            yield event({"delta": {"tool_calls": [rest]}})
        yield event({"delta": {}, "finish_reason": "tool_calls" if reply.calls else reply.finish})
        usage = {
            "prompt_tokens": reply.input_tokens,
            "completion_tokens": reply.output_tokens,
            "total_tokens": reply.input_tokens + reply.output_tokens,
            "prompt_tokens_details": {"cached_tokens": reply.cached_tokens},
        }
        yield event(None, usage=usage)
        yield b"data: [DONE]\n\n"

    def error(self, refusal: Refuse) -> bytes:
        """Return OpenAI's object of an error."""
        error = {"message": refusal.message, "type": "error", "param": None, "code": refusal.code or None}
        return json.dumps({"error": error}).encode()


CHAT = ChatWire()
