"""HTTP to vendors: no redirect, no private address, no key where it does not belong."""

import asyncio
import ipaddress
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from schemas.provider_keys import PrivateHosts, ProviderKeys
from stages.runtime.providers import ProviderContext, ProviderError, ProviderMissing
from stages.runtime.vendor_http import VendorHttp, is_public, open_http, unmapped

HOMES = {"ACME_API_KEY": "https://api.acme.example/v1"}
SECRET = "CANARY"


@asynccontextmanager
async def client(private: str = "loopback", **environment: str) -> AsyncIterator[VendorHttp]:
    keys = ProviderKeys.from_environment({"ACME_API_KEY": SECRET, **environment})
    allowed = PrivateHosts.from_environment({"ANTIPHON_PRIVATE_HOSTS": private})
    async with open_http(ProviderContext(keys, allowed), HOMES) as http:
        yield http


@pytest.fixture
async def requests() -> AsyncIterator[tuple[str, list[web.Request]]]:
    """The URL of a server, and the requests that reached it. `/go?status=307` redirects to `/there`."""
    asked: list[web.Request] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(request)
        if request.path == "/go":
            return web.Response(status=int(request.query["status"]), headers={"Location": "/there"})
        return web.Response(headers={"Set-Cookie": "a=b"})

    application = web.Application()
    application.router.add_route("*", "/{path}", answer)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}", asked
    await runner.cleanup()


@pytest.mark.parametrize(
    ("text", "public"),
    [
        ("93.184.215.14", True),
        ("2606:2800:21f:cb07::1", True),
        ("127.0.0.1", False),
        ("10.0.0.1", False),
        ("169.254.169.254", False),  # a cloud's metadata
        ("100.64.0.1", False),
        ("192.0.0.8", False),
        ("224.0.0.1", False),
        ("0.0.0.0", False),
        ("255.255.255.255", False),
        ("::1", False),
        ("::", False),
        ("::127.0.0.1", False),
        ("::ffff:127.0.0.1", False),
        ("::ffff:93.184.215.14", True),
        ("64:ff9b::7f00:1", False),
        ("64:ff9b:1::1", False),
        ("2002:7f00:1::", False),
        ("2001::1", False),
        ("fe80::1%eth0", False),
        ("fec0::1", False),
        ("fd00:ec2::254", False),
        ("ff02::1", False),
    ],
)
def test_public_addresses(text: str, public: bool) -> None:
    assert is_public(unmapped(text)) is public


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:8222/",
        "https://127.1/",
        "https://2130706433/",
        "https://0x7f000001/",
        "https://0177.0.0.1/",
        "https://[::1]/",
        "https://[::ffff:127.0.0.1]/",
        "https://localhost/",
        "http://169.254.169.254/latest/meta-data/",
        "https://10.0.0.5/",
    ],
)
async def test_a_document_reaches_no_private_host_without_leave(url: str) -> None:
    async with client(private="none") as http:
        with pytest.raises(ProviderError, match="ANTIPHON_PRIVATE_HOSTS") as caught:
            await http.endpoint("ACME_API_KEY", url)
        assert caught.value.kind == "options"


async def test_by_default_a_document_may_name_this_machine_and_no_other() -> None:
    async with client() as http:
        assert (await http.endpoint("ACME_API_KEY", "http://localhost:11434/v1")).key is None
        with pytest.raises(ProviderError, match="private address"):
            await http.endpoint("ACME_API_KEY", "http://10.0.0.5:11434/v1")


async def test_speech_crosses_the_internet_encrypted_only() -> None:
    async with client() as http:
        with pytest.raises(ProviderError, match="use https"):
            await http.endpoint("ACME_API_KEY", "http://93.184.215.14/v1")


@pytest.mark.parametrize("url", ["file:///etc/passwd", "https://a:b@93.184.215.14/", "ftp://93.184.215.14", "https://"])
async def test_a_malformed_url_is_an_option_to_correct(url: str) -> None:
    async with client() as http:
        with pytest.raises(ProviderError, match="base_url"):
            await http.endpoint("ACME_API_KEY", url)


async def test_the_key_goes_to_the_vendor_and_where_the_operator_says() -> None:
    async with client() as http:
        home = await http.endpoint("ACME_API_KEY")
        assert (home.url, home.key) == ("https://api.acme.example/v1", SECRET)
        assert (await http.endpoint("ACME_API_KEY", "http://127.0.0.1:80/v1")).key is None
    async with client(private="none", ACME_BASE_URL="http://10.0.0.5:8000/v1/") as http:
        ours = await http.endpoint("ACME_API_KEY")
        assert (ours.url, ours.key) == ("http://10.0.0.5:8000/v1", SECRET)
        assert (await http.endpoint("ACME_API_KEY", "http://10.0.0.5:8000/v2")).key == SECRET


async def test_a_missing_key_is_named() -> None:
    async with open_http(ProviderContext(), HOMES) as http:
        with pytest.raises(ProviderMissing, match="export ACME_API_KEY="):
            await http.endpoint("ACME_API_KEY")


async def test_a_name_that_moves_to_a_private_address_is_not_followed_there(
    monkeypatch: pytest.MonkeyPatch, requests: tuple[str, list[web.Request]]
) -> None:
    """DNS rebinding: a name that was public when it was checked resolves to this machine a moment later."""
    url, asked = requests
    port = int(url.rpartition(":")[2])
    answers = iter(["93.184.215.14", "127.0.0.1"])

    async def getaddrinfo(host: str, port: int, **_: object) -> list[tuple[int, int, int, str, tuple[str, int]]]:
        return [(2, 1, 6, "", (next(answers), port))]

    async with client(private="none") as http:
        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo, raising=False)
        there = await http.endpoint("ACME_API_KEY", f"https://moves.example:{port}")
        with pytest.raises(ProviderError, match=r"private address 127\.0\.0\.1"):
            await there.http.get(there.url)
    assert not asked


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_no_redirect_is_followed(requests: tuple[str, list[web.Request]], status: int) -> None:
    url, asked = requests
    async with client() as http:
        there = await http.endpoint("ACME_API_KEY", url)
        with pytest.raises(ProviderError, match=f"HTTP {status}: redirects are not followed") as caught:
            await there.http.post(f"{there.url}/go?status={status}", json={"said": "hello"})
        assert caught.value.kind == "bad_request"
    assert [request.path for request in asked] == ["/go"]


async def test_no_cookie_and_no_proxy(monkeypatch: pytest.MonkeyPatch, requests: tuple[str, list[web.Request]]) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    url, asked = requests
    async with client() as http:
        there = await http.endpoint("ACME_API_KEY", url)
        for _ in range(2):
            async with there.http.get(f"{there.url}/there"):
                pass
    assert [request.headers.get("Cookie") for request in asked] == [None, None]


def test_the_addresses_of_the_matrix_are_those_that_python_takes_for_global() -> None:
    """Why `is_global` alone does not do; if this fails, Python has become stricter and `is_public` may shrink."""
    for text in ("64:ff9b::7f00:1", "2002:7f00:1::", "64:ff9b:1::1", "224.0.0.1"):
        assert ipaddress.ip_address(text).is_global
