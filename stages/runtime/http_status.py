"""The status and headers of an HTTP answer that refuses a request: kind of the error and time to wait. Pure."""

from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from http import HTTPStatus

from schemas.events import ProviderErrorKind


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
    """Return the wait that the server asks for: seconds or a date in `Retry-After`, or OpenAI's own header in ms.

    now_s: seconds since 1970.
    """
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
