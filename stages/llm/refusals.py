"""An HTTP response that is no reply -> a ProviderError. Pure.

The message is ours: a server's own may quote the key or the caller.
"""

import json
import re
from collections.abc import Mapping
from http import HTTPStatus

import msgspec

from stages.llm.chat_chunks import named
from stages.llm.contract import ContextTooLong
from stages.runtime.http_status import kind_of, retry_after_s
from stages.runtime.providers import ProviderError

# How OpenAI and Groq, llama.cpp, vLLM, Gemini and Bedrock say that the request is longer than the model can read.
_TOO_LONG = (
    "context_length_exceeded",
    "exceed_context_size",
    "maximum context length",
    "input token count",
    "input is too long",
    "prompt is too long",
)
_WRONG_KEY = ("api_key_invalid",)  # Google answers a wrong key with 400
_RETRY_DELAY = re.compile(
    r'"retrydelay": "([0-9]+(?:\.[0-9]+)?)s"'
)  # google.rpc.RetryInfo, in place of a `Retry-After`
_AWS_ERROR = re.compile(r"[A-Za-z]{1,64}")  # X-Amzn-ErrorType: ThrottlingException:http://...
_NO_CREDIT = ("insufficient_quota", "billing")  # of a 429 that no waiting mends


def refusal(status: int, headers: Mapping[str, str], body: bytes, now_s: float) -> ProviderError:
    """Return the error. now_s: seconds since 1970, for a `Retry-After` that is a date."""
    try:
        parsed: object = msgspec.json.decode(body)
    except msgspec.MsgspecError:
        parsed = None
    error = parsed.get("error", parsed) if isinstance(parsed, dict) else None
    text = json.dumps(error).lower()
    aws = _AWS_ERROR.match(headers.get("X-Amzn-ErrorType", ""))
    message = f"HTTP {status}" + (f" ({aws[0]})" if aws else named(error))
    if status in (HTTPStatus.BAD_REQUEST, HTTPStatus.REQUEST_ENTITY_TOO_LARGE) and _any_in(_TOO_LONG, text):
        return ContextTooLong(message)
    if _any_in(_WRONG_KEY, text):
        return ProviderError("auth", message)
    kind, retryable = kind_of(status)
    wait_s = retry_after_s(headers, now_s) if retryable else None
    if retryable and wait_s is None and (delay := _RETRY_DELAY.search(text)):
        wait_s = float(delay[1])
    if wait_s is not None:
        message += f", retry after {wait_s:.0f} s"
    if kind == "quota" and _any_in(_NO_CREDIT, text):
        retryable = False
    return ProviderError(kind, message, retryable=retryable, retry_after_s=wait_s)


def _any_in(words: tuple[str, ...], text: str) -> bool:
    return any(word in text for word in words)
