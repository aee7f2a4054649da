"""The HTTP status with which a vendor refuses a request or a websocket -> the kind of a ProviderError.

The message is ours: a vendor's own text may quote the key or the caller.
"""

import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from http import HTTPStatus

from schemas.events import ProviderErrorKind
from stages.runtime.providers import ProviderError

_CODE = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,60}")  # a code of the vendor's documentation, never a sentence


def refused(status: int, headers: Mapping[str, str], now_s: float, code: object = "") -> ProviderError:
    """Return the error. now_s: seconds since 1970, for a `Retry-After` that is a date. code: the vendor's own."""
    kind, retryable = kind_of(status)
    wait_s = retry_after_s(headers, now_s) if retryable else None
    message = f"HTTP {status}{named(code)}"
    if wait_s is not None:
        message += f", retry after {wait_s:.0f} s"
    return ProviderError(kind, message, retryable=retryable, retry_after_s=wait_s)


def named(code: object) -> str:
    """Return a vendor's error code as " (code)", or nothing if it does not look like one."""
    return f" ({code})" if isinstance(code, str) and _CODE.fullmatch(code) else ""


def kind_of(status: int) -> tuple[ProviderErrorKind, bool]:
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


def retry_after_s(headers: Mapping[str, str], now_s: float) -> float | None:
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
