"""Whose requests are answered: our own page's, for a host that nobody else can have named."""

import pytest

from gateway.guard import content_policy, is_ours, is_same
from gateway.serve import origins


@pytest.mark.parametrize(
    "host", ["127.0.0.1:8080", "localhost:8080", "LOCALHOST", "[::1]:80", "10.1.2.3", "talk.example"]
)
def test_an_address_or_a_name_that_we_were_given_is_ours(host: str) -> None:
    assert is_ours(host, ["talk.example"])


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "", "[", "1.2.3"])
def test_a_name_that_somebody_points_at_this_machine_is_not(host: str) -> None:
    assert not is_ours(host, ["talk.example"])


def test_a_page_is_ours_if_it_came_from_the_host_that_it_asks() -> None:
    assert is_same("http://127.0.0.1:8080", "127.0.0.1:8080")
    assert is_same("https://Talk.example", "talk.example")
    for origin in ("null", "http://127.0.0.1:9999", "http://evil.example", "file://127.0.0.1:8080", "", "http://["):
        assert not is_same(origin, "127.0.0.1:8080"), origin


def test_scripts_come_from_here_alone_and_rooms_are_the_only_other_place() -> None:
    policy = content_policy(origins("wss://rooms.example:7880/path"))
    assert "script-src 'self';" in policy
    assert "connect-src 'self' wss://rooms.example:7880 https://rooms.example:7880;" in policy
    assert "unsafe" not in policy
    assert "*" not in policy
    assert origins("") == ()
