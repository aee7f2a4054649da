"""Websocket callers name the format of their audio, and a bad one is refused."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import ClientSession

from antiphon_testing.agents import scripted_agent
from antiphon_testing.platform import Platform, open_platform


@pytest.fixture
async def platform(tmp_path: Path) -> AsyncIterator[Platform]:
    async with open_platform(tmp_path, [scripted_agent("plain")]) as platform:
        yield platform


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("rate=7999", "rate='7999' in the URL. Give a whole number from 8000 to 48000."),
        ("rate=96000", "rate='96000'"),
        ("rate=", "rate=''"),
        ("rate=16k", "rate='16k'"),
        ("rate=-16000", "rate='-16000'"),
        ("rate=1" + "0" * 5_000, "rate='10000000000000000000'"),
        ("channels=3", "channels='3' in the URL. Give a whole number from 1 to 2."),
        ("channels=0", "channels='0'"),
        ("channels=%C2%B2", "channels='\u00b2'"),
    ],
)
async def test_a_format_that_ingress_does_not_convert_is_refused_with_the_range(
    platform: Platform, query: str, message: str
) -> None:
    async with ClientSession() as http, http.ws_connect(f"{platform.ingress.url}?agent=plain&{query}") as socket:
        refused = await socket.receive_json(timeout=30)
    assert refused["type"] == "error"
    assert message in refused["message"]
    assert not platform.ingress.sessions


async def test_the_first_message_names_the_formats(platform: Platform) -> None:
    url = f"{platform.ingress.url}?agent=plain&rate=44100&channels=2"
    async with ClientSession() as http, http.ws_connect(url) as socket:
        opened = await socket.receive_json(timeout=30)
    assert (opened["input_hz"], opened["input_channels"], opened["output_hz"]) == (44_100, 2, 24_000)
