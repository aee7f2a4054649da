"""One platform for the tests that leave it as they found it."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from antiphon_testing.agents import scripted_agent
from antiphon_testing.processes import Platform, Running, attach, running

ECHO = scripted_agent("echo", llm={"replies": ["You said {text}"]}, stt={"texts": ["one", "two", "three"]})


@pytest.fixture(scope="session")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """`antiphon up`, started once for all."""
    folder: Path = tmp_path_factory.mktemp("platform")
    with running(folder, "up", "--json", "--warm", "scripted", "--data", folder) as up:
        yield up


@pytest.fixture
async def home(started: Running) -> AsyncIterator[Platform]:
    """It, ready, and a bus of the test's own."""
    async with attach(started) as platform:
        await platform.set(ECHO)
        yield platform
