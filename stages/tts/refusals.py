"""A vendor's refusal of a text -> a ProviderError. Pure.

The message is ours: a vendor's own text may quote the key or the caller.
"""

import re
from collections.abc import Mapping

from stages.runtime.http_status import kind_of, retry_after_s
from stages.runtime.providers import ProviderError

_CODE = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,60}")  # a code of the vendor's documentation, never a sentence


def refused(
    status: int, code: object = "", headers: Mapping[str, str] | None = None, now_s: float = 0
) -> ProviderError:
    """Return the error of an HTTP status. code: the vendor's own. now_s: since 1970, for a date in `Retry-After`."""
    kind, retryable = kind_of(status)
    wait_s = retry_after_s(headers or {}, now_s) if retryable else None
    wait = "" if wait_s is None else f", retry after {wait_s:.0f} s"
    named = f" ({code})" if isinstance(code, str) and _CODE.fullmatch(code) else ""
    return ProviderError(kind, f"HTTP {status}{named}{wait}", retryable=retryable, retry_after_s=wait_s)
