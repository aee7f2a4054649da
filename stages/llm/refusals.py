"""An HTTP response that is no reply -> a ProviderError. Pure.

The message is ours: a server's own may quote the key or the caller.
"""

import json
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from http import HTTPStatus

import msgspec

from schemas.events import ProviderErrorKind
from stages.llm.chat_chunks import named
from stages.llm.contract import ContextTooLong
from stages.runtime.providers import ProviderError

# How OpenAI and Groq, llama.cpp, vLLM and Gemini say that the request is longer than the model can read.
_TOO_LONG = ("context_length_exceeded", "exceed_context_size", "maximum context length", "input token count")
_NO_CREDIT = ("insufficient_quota", "billing")  # of a 429 that no waiting mends


def refusal(status: int, headers: Mapping[str, str], body: bytes, now_s: float) -> ProviderError:
    """Return the error. now_s: seconds since 1970, for a `Retry-After` that is a date."""
    try:
        parsed: object = msgspec.json.decode(body)
    except msgspec.MsgspecError:
        parsed = None
    error = parsed.get("error", parsed) if isinstance(parsed, dict) else None
    text = json.dumps(error).lower()
    message = f"HTTP {status}{named(error)}"
    if status in (HTTPStatus.BAD_REQUEST, HTTPStatus.REQUEST_ENTITY_TOO_LARGE) and _any_in(_TOO_LONG, text):
        return ContextTooLong(message)
    kind, retryable = _kind(status)
    retry_after_s = _retry_after_s(headers, now_s) if retryable else None
    if retry_after_s is not None:
        message += f", retry after {retry_after_s:.0f} s"
    if kind == "quota" and _any_in(_NO_CREDIT, text):
        retryable = False
    return ProviderError(kind, message, retryable=retryable, retry_after_s=retry_after_s)


def _kind(status: int) -> tuple[ProviderErrorKind, bool]:
    """Return the kind of the error, and whether a later request may succeed."""
    match status:
        case HTTPStatus.UNAUTHORIZED | HTTPStatus.FORBIDDEN:
            return "auth", False
        case HTTPStatus.TOO_MANY_REQUESTS:
            return "quota", True
        case HTTPStatus.PAYMENT_REQUIRED:
            return "quota", False
        case HTTPStatus.REQUEST_TIMEOUT:
            return "timeout", True
        case _ if HTTPStatus.BAD_REQUEST <= status < HTTPStatus.INTERNAL_SERVER_ERROR:
            return "bad_request", False
    return "server", True


def _retry_after_s(headers: Mapping[str, str], now_s: float) -> float | None:
    """Return the wait that the server asks for: seconds or a date in `Retry-After`, or OpenAI's own header in ms."""
    milliseconds, text = headers.get("Retry-After-Ms", ""), headers.get("Retry-After", "")
    try:
        if milliseconds:
            return max(0.0, float(milliseconds) / 1000)
        return max(0.0, float(text)) if text else None
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - now_s)
    except ValueError:
        return None


def _any_in(words: tuple[str, ...], text: str) -> bool:
    return any(word in text for word in words)
