"""What the status and headers of a refusal mean."""

from http import HTTPStatus

import pytest

from stages.runtime.http_status import kind_of, retry_after_s

NOW_S = 1_000_000_000.0  # 2001-09-09T01:46:40Z


@pytest.mark.parametrize(
    ("status", "kind", "retryable"),
    [
        (HTTPStatus.UNAUTHORIZED, "auth", False),
        (HTTPStatus.FORBIDDEN, "auth", False),
        (HTTPStatus.TOO_MANY_REQUESTS, "quota", True),
        (HTTPStatus.PAYMENT_REQUIRED, "quota", False),
        (HTTPStatus.REQUEST_TIMEOUT, "timeout", True),
        (HTTPStatus.NOT_FOUND, "bad_request", False),
        (HTTPStatus.BAD_GATEWAY, "server", True),
    ],
)
def test_the_kind_of_a_status(status: int, kind: str, retryable: bool) -> None:
    assert kind_of(status) == (kind, retryable)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"Retry-After": "2.5"}, 2.5),
        ({"Retry-After": "-1"}, 0.0),
        ({"Retry-After-Ms": "250", "Retry-After": "9"}, 0.25),
        ({"Retry-After": "Sun, 09 Sep 2001 01:46:50 GMT"}, 10.0),
        ({"Retry-After": "soon"}, None),
    ],
)
def test_the_wait_that_a_server_asks_for(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after_s(headers, NOW_S) == seconds
