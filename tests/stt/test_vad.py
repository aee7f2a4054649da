"""Which engine of VAD serves a session, and what its failure does to the sessions of a worker."""

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

import stages.stt.stage
from antiphon_testing.stage import Worker, worker
from schemas.events import SttProviderFailed
from stages.runtime.providers import ProviderContext, ProviderError, ProviderMissing, Vad
from stages.stt import vad
from stages.stt.silero import Floats
from stages.stt.silero_engine import SileroEngine
from stages.stt.vad import open_vad

LOUD = (3_000).to_bytes(2, "little") * 512


@pytest.fixture
def silero(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The weights with which the silero engine was opened; its model raises."""
    opened: list[Path] = []

    def breaks(heard: Floats, state: Floats) -> tuple[Floats, Floats]:
        raise OSError("the model is gone")

    @asynccontextmanager
    async def open_silero(weights: Path) -> AsyncIterator[SileroEngine]:
        opened.append(weights)
        with ThreadPoolExecutor(1) as thread:
            engine = SileroEngine(breaks, thread)
            with engine.working():
                yield engine

    monkeypatch.setattr(vad, "open_silero", open_silero)
    return opened


@pytest.mark.parametrize(
    ("setting", "recognizer", "engine"),
    [
        ("auto", "scripted", "script"),
        ("auto", "local", "silero"),
        ("auto", "acme", "silero"),
        ("script", "local", "script"),
        ("silero", "scripted", "silero"),
    ],
)
async def test_the_setting_chooses_the_engine(silero: list[Path], setting: Vad, recognizer: str, engine: str) -> None:
    async with open_vad(setting, Path("weights")) as detection:
        assert (await detection.engine(recognizer)).name == engine
        assert len(silero) == (engine == "silero")


async def test_sessions_share_the_model_however_many_ask_at_once(silero: list[Path]) -> None:
    async with open_vad("silero", Path("weights")) as detection:
        engines = await asyncio.gather(*(detection.engine("acme") for _ in range(5)))
    assert len(set(engines)) == 1
    assert silero == [Path("weights")]


async def test_a_worker_that_is_told_to_use_silero_loads_it_before_the_first_session(silero: list[Path]) -> None:
    async with worker(stages.stt.stage, ProviderContext(vad="silero")):
        assert len(silero) == 1
    async with worker(stages.stt.stage, ProviderContext()):
        assert len(silero) == 1


async def test_a_worker_without_the_model_says_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(ProviderMissing, match=r"antiphon fetch|pip install"):
        await worker(stages.stt.stage, ProviderContext(vad="silero", weights=tmp_path)).__aenter__()


async def test_voice_activity_that_fails_ends_every_session_of_the_worker(silero: list[Path]) -> None:
    """Scripted sessions, too, which once did not notice."""
    scripted = {"stt": {"provider": "scripted"}}
    context = ProviderContext(vad="silero")
    ended: list[tuple[str, str]] = []

    async def take_part(running: Worker, session: str) -> None:
        async with running.call(scripted, session=session) as call:
            opened.release()
            await all_open.wait()
            if session == "talks":
                call.hear_audio(LOUD, at=0)
            failed = await call.publishes(SttProviderFailed)
            ended.append((session, failed.kind))

    async def one(running: Worker, session: str) -> None:
        with pytest.raises(ProviderError, match=r"voice activity detection stopped: OSError\. Restart this worker"):
            await take_part(running, session)

    opened, all_open = asyncio.Semaphore(0), asyncio.Event()
    async with worker(stages.stt.stage, context) as running:
        tasks = [asyncio.create_task(one(running, name)) for name in ("talks", "silent")]
        for _ in tasks:
            await opened.acquire()
        all_open.set()
        await asyncio.gather(*tasks)
        assert sorted(ended) == [("silent", "server"), ("talks", "server")]
        with pytest.raises(ProviderError, match="stopped"):
            await running.call(scripted, session="new").__aenter__()
