"""The wire of Gemini's streamGenerateContent with `alt=sse`.

Messages: https://ai.google.dev/api/generate-content (GenerateContentResponse with Candidate, Part, FinishReason and
UsageMetadata; there is no `[DONE]`). A part of reasoning has `thought`: https://ai.google.dev/gemini-api/docs/thinking.
Errors: https://cloud.google.com/apis/design/errors (google.rpc.Status as JSON).
"""

import json
from collections.abc import Iterator
from http import HTTPStatus

from antiphon_testing.vendors.faults import Refuse
from antiphon_testing.vendors.language_model_server import Reply

_REASONS = {"stop": "STOP", "length": "MAX_TOKENS", "content_filter": "SAFETY"}
_STATUS = {400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 429: "RESOURCE_EXHAUSTED"}


class GeminiWire:
    """Writes GenerateContentResponses as server-sent events."""

    path = "/v1beta/models/{model}:streamGenerateContent"
    base = "/v1beta"
    content_type = "text/event-stream"

    def messages(self, reply: Reply) -> Iterator[bytes]:
        """Yield reasoning, text, calls, and a last chunk with the reason of the end; each has the sums so far."""
        for thought in reply.thoughts:
            yield _chunk(reply, [{"text": thought, "thought": True}])
        for piece in reply.pieces:
            yield _chunk(reply, [{"text": piece}])
        for index, call in enumerate(reply.calls):
            made = {"id": f"call_{index}", "name": call.name, "args": json.loads(call.arguments)}
            yield _chunk(reply, [{"functionCall": made, "thoughtSignature": "c2ln"}])
        yield _chunk(reply, [{"text": ""}], finishReason=_REASONS[reply.finish])

    def error(self, refusal: Refuse) -> bytes:
        """Return google.rpc.Status; `code` of the refusal becomes the reason of an ErrorInfo."""
        error: dict[str, object] = {
            "code": refusal.status,
            "message": refusal.message,
            "status": _STATUS.get(refusal.status, HTTPStatus(refusal.status).name),
        }
        if refusal.code:
            error["details"] = [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": refusal.code}]
        return json.dumps({"error": error}).encode()


def _chunk(reply: Reply, parts: list[dict[str, object]], **fields: str) -> bytes:
    counts = {
        "promptTokenCount": reply.input_tokens,
        "cachedContentTokenCount": reply.cached_tokens,
        "candidatesTokenCount": reply.output_tokens,
        "totalTokenCount": reply.input_tokens + reply.output_tokens,
    }
    candidate = {"content": {"parts": parts, "role": "model"}, "index": 0, **fields}
    chunk = {"candidates": [candidate], "usageMetadata": counts, "modelVersion": "m", "responseId": "r1"}
    return f"data: {json.dumps(chunk)}\r\n\r\n".encode()


GEMINI = GeminiWire()
