"""The local recognizer, for the tests that need the real one."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import stages.stt.stage
from antiphon_testing.speech import INSTALLED, WHY_NOT
from antiphon_testing.stage import Worker, worker
from cli.discovery import weights_folder
from stages.runtime.providers import ProviderContext, ProviderMissing
from stages.runtime.weights import SILERO, locate


@pytest.fixture
def weights() -> Path:
    """Return the folder with the VAD model; skips with the reason where there is no local recognizer."""
    if not INSTALLED:
        pytest.skip(WHY_NOT)
    folder = weights_folder()
    try:
        locate(SILERO, folder)
    except ProviderMissing as missing:
        pytest.skip(str(missing))
    return folder


@pytest.fixture
async def listening(weights: Path) -> AsyncIterator[Worker]:
    """A worker with the local recognizer."""
    async with worker(stages.stt.stage, ProviderContext(weights=weights)) as running:
        yield running
