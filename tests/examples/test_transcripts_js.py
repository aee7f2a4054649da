"""A subscriber in another language: examples/transcripts.js, which shares no line with the product, hears a call."""

import asyncio
import shutil
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from antiphon_testing.agents import scripted_agent
from antiphon_testing.platform import open_platform
from schemas import events
from tests.kit import npm

EXAMPLES = Path(__file__).parents[2] / "examples"
FILES = ("package.json", "package-lock.json", "transcripts.js")
WITHIN_S = 30.0

pytestmark = npm.needs_node


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example as somebody has it who copied three files out of a checkout."""
    folder = tmp_path_factory.mktemp("examples")
    for name in FILES:
        shutil.copy(EXAMPLES / name, folder)
    npm.ci(folder)
    return folder


@asynccontextmanager
async def transcripts(folder: Path, url: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """The example, subscribed; ended on leaving."""
    running = await asyncio.create_subprocess_exec(
        "node", "transcripts.js", url, cwd=folder, stdout=PIPE, stderr=PIPE
    )  # fmt: skip
    try:
        assert "listening" in await line(running.stderr)
        yield running
    finally:
        if running.returncode is None:
            running.kill()
        await running.communicate()


async def line(stream: asyncio.StreamReader | None) -> str:
    assert stream is not None
    return (await asyncio.wait_for(stream.readline(), WITHIN_S)).decode()


async def test_javascript_prints_what_the_callers_of_all_agents_said(tmp_path: Path, installed: Path) -> None:
    agents = [
        scripted_agent("desk", stt={"texts": ["Haben Sie auf – heute?"]}),
        scripted_agent("shop", stt={"texts": ["When do you open?"]}),
    ]
    async with open_platform(tmp_path, agents) as home, transcripts(installed, home.nats) as subscriber:
        for agent, said in (("desk", "Haben Sie auf – heute?"), ("shop", "When do you open?")):
            call = await home.simulated_call(agent, turns=1, linger_ms=500)
            final = await call.until(events.TranscriptFinal)
            assert final.text == said
            when, *told = (await line(subscriber.stdout)).split(maxsplit=3)
            assert told == [agent, call.session, f"{said}\n"]
            assert when == milliseconds(final.time)
            await call.until(events.SessionClosed)
        subscriber.terminate()
        assert await asyncio.wait_for(subscriber.wait(), WITHIN_S) == 0  # a signal ends it in order
        rest, complaints = await subscriber.communicate()
        assert (rest, complaints) == (b"", b"")


def milliseconds(time: int) -> str:
    """UTC microseconds as JavaScript writes them."""
    return datetime.fromtimestamp(time // 1000 / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
