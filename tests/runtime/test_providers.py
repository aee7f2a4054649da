"""The registry of providers, with providers that hang, fail and are slow, as files in a stage's folder."""

import asyncio
import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import stages.llm.providers
from stages.runtime.providers import Provider, ProviderContext, ProviderError, ProviderMissing, Providers

OPEN_WITHIN_S = 1.0
CLOSE_WITHIN_S = 0.2

# `journal` is what the providers of a test did, in order.
FILE = """
import asyncio
from contextlib import asynccontextmanager
from stages.runtime.providers import ProviderError

journal = []
class Shared:
    capacity = None

@asynccontextmanager
async def open_provider(context):
    journal.append("opening")
    {opening}
    task = asyncio.current_task()
    try:
        yield Shared()
    finally:
        journal.append("closing" if asyncio.current_task() is task else "closing in another task")
        {closing}
    journal.append("closed")
"""
SLOW = "await asyncio.sleep(0.3)"
HANGS = "await asyncio.sleep(1e6)"
FAILS_ONCE = "if len(journal) == 1: raise ProviderError('connection', 'refused', retryable=True)"


class Files:
    """Writes providers and reads what they did."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._folder = folder
        self._providers: Any = {}
        monkeypatch.setattr(stages.llm.providers, "__path__", [*stages.llm.providers.__path__, str(folder)])

    def write(self, name: str, opening: str = "pass", closing: str = "pass") -> None:
        (self._folder / f"{name}.py").write_text(FILE.format(opening=opening, closing=closing), encoding="utf-8")

    def journal(self, name: str) -> list[str]:
        found: list[str] = importlib.import_module(f"stages.llm.providers.{name}").journal
        return found


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Files]:
    before = set(sys.modules)
    yield Files(tmp_path, monkeypatch)
    for name in set(sys.modules) - before:
        if name.startswith("stages.llm.providers."):
            del sys.modules[name]


def registry() -> Providers[Provider]:
    return Providers("llm", ProviderContext(), open_within_s=OPEN_WITHIN_S, close_within_s=CLOSE_WITHIN_S)


async def test_a_provider_opens_once_for_all_sessions_and_closes_with_the_worker(files: Files) -> None:
    files.write("one")
    async with registry() as providers:
        assert providers.opened("one") is None
        first, second = await asyncio.gather(providers.get("one"), providers.get("one"))
        assert first is second is providers.opened("one")
        assert files.journal("one") == ["opening"]
    assert files.journal("one") == ["opening", "closing", "closed"]


async def test_a_provider_that_hangs_delays_no_other(files: Files) -> None:
    files.write("hangs", HANGS)
    files.write("ready")

    async with registry() as providers:
        hanging = asyncio.create_task(providers.get("hangs"))
        await asyncio.sleep(0.1)
        await providers.get("ready")
        assert not hanging.done()
        with pytest.raises(ProviderError, match="llm hangs did not open within 1 s") as caught:
            await hanging
        assert (caught.value.kind, caught.value.retryable) == ("timeout", True)
        assert providers.opened("hangs") is None


async def test_a_failure_is_for_all_who_waited_and_the_next_session_tries_again(files: Files) -> None:
    files.write("moody", FAILS_ONCE)
    async with registry() as providers:
        failed = await asyncio.gather(providers.get("moody"), providers.get("moody"), return_exceptions=True)
        assert [str(error) for error in failed] == ["refused", "refused"]
        assert files.journal("moody") == ["opening"]
        assert (await providers.get("moody")) is providers.opened("moody")


async def test_the_first_session_may_leave_while_others_wait(files: Files) -> None:
    files.write("slow", SLOW)

    async with registry() as providers:
        first = asyncio.create_task(providers.get("slow"))
        await asyncio.sleep(0.1)
        second = asyncio.create_task(providers.get("slow"))
        await asyncio.sleep(0.1)
        first.cancel()
        opened = await second
        assert first.cancelled()
        assert providers.opened("slow") is opened
    assert files.journal("slow") == ["opening", "closing", "closed"]  # all in one task


async def test_a_session_that_ends_closes_nothing_for_the_others(files: Files) -> None:
    files.write("one")

    async with registry() as providers:
        session = asyncio.create_task(providers.get("one"))
        await session
        assert files.journal("one") == ["opening"]
        assert await providers.get("one") is session.result()


async def test_providers_close_in_reverse_order_and_one_that_hangs_does_not_hold_up_the_end(files: Files) -> None:
    files.write("first", closing="import time; journal.append(time.monotonic_ns())")
    files.write("hangs", closing=HANGS)
    files.write("last", closing="import time; journal.append(time.monotonic_ns())")

    clock = asyncio.get_running_loop()
    async with registry() as providers:
        for name in ("first", "hangs", "last"):
            await providers.get(name)
        began_s = clock.time()
    assert CLOSE_WITHIN_S <= clock.time() - began_s < OPEN_WITHIN_S
    first, last = (next(one for one in files.journal(name) if isinstance(one, int)) for name in ("first", "last"))
    assert last < first
    assert files.journal("hangs") == ["opening", "closing"]


async def test_the_worker_may_end_while_a_provider_opens(files: Files) -> None:
    files.write("slow", SLOW)

    async with registry() as providers:
        waiting = asyncio.create_task(providers.get("slow"))
        await asyncio.sleep(0.1)
    with pytest.raises(ProviderError, match="closing"):
        await waiting


async def test_a_provider_that_is_not_there_is_named(files: Files) -> None:
    (Path(next(reversed(stages.llm.providers.__path__))) / "bare.py").write_text("import no_such_sdk", encoding="utf-8")
    async with registry() as providers:
        with pytest.raises(
            ProviderMissing,
            match="llm has no provider 'nobody': it has amazon, bare, cerebras, google, groq, local, openai, scripted",
        ):
            await providers.get("nobody")
        with pytest.raises(ProviderMissing, match=r"needs no_such_sdk: pip install -e '.\[bare\]'"):
            await providers.get("bare")
