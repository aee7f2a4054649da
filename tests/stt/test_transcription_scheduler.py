"""The order in which audio is transcribed, and the failures of a transcriber."""

import asyncio
from collections.abc import Hashable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.runtime.providers import ProviderError
from stages.stt.transcription_scheduler import Job, Queue, TranscriptionScheduler


def job(owner: Hashable, *, final: bool = True, pcm: bytes = b"") -> Job:
    return Job(owner, pcm, 0, 0, final, lambda job: None)


def test_callers_take_turns_however_much_one_of_them_says() -> None:
    queue = Queue()
    for owner in ("talker", "talker", "talker", "quiet"):
        queue.put(job(owner))
    assert [taken.owner for _ in range(4) if (taken := queue.take())] == ["talker", "quiet", "talker", "talker"]


def test_a_final_goes_before_every_interim() -> None:
    queue = Queue()
    interim, final = job("one", final=False), job("two")
    queue.put(interim)
    queue.put(final)
    assert [queue.take(), queue.take(), queue.take()] == [final, interim, None]


def test_a_newer_interim_replaces_the_one_that_waits() -> None:
    queue = Queue()
    queue.put(job("one", final=False))
    newer = job("one", final=False)
    queue.put(newer)
    assert [queue.take(), queue.take()] == [newer, None]


def test_a_stretch_that_went_on_is_not_transcribed() -> None:
    queue = Queue()
    dropped, kept = job("one"), job("one")
    queue.put(dropped)
    queue.put(kept)
    dropped.wanted = False
    assert [queue.take(), queue.take()] == [kept, None]


def test_nothing_waits_for_a_caller_who_has_gone() -> None:
    queue = Queue()
    queue.put(job("gone"))
    queue.put(job("gone", final=False))
    queue.forget("gone")
    assert queue.take() is None


@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), max_size=30))
def test_no_final_is_ever_lost_and_each_caller_s_come_in_order(puts: list[tuple[str, bool]]) -> None:
    queue = Queue()
    jobs = [job(owner, final=final) for owner, final in puts]
    for each in jobs:
        queue.put(each)
    taken = []
    while one := queue.take():
        taken.append(one)
    for owner in "abc":
        assert [each for each in taken if each.owner == owner and each.final] == [
            each for each in jobs if each.owner == owner and each.final
        ]
        assert sum(each.owner == owner and not each.final for each in taken) <= 1


async def test_a_transcriber_that_fails_once_fails_that_job_and_goes_on() -> None:
    async def transcribe(pcm: bytes) -> str:
        if not pcm:
            raise ProviderError("server", "nothing to read")
        return pcm.decode()

    done: asyncio.Queue[Job] = asyncio.Queue()
    scheduler = TranscriptionScheduler(transcribe)
    with scheduler.working():
        for pcm in (b"", b"words"):
            scheduler.put(Job("one", pcm, 0, 0, True, done.put_nowait))
        failed, read = await done.get(), await done.get()
    assert isinstance(failed.failure, ProviderError)
    assert read.text == "words"


class Caller:
    """A recognizer that puts jobs."""

    def __init__(self) -> None:
        self.failures: list[ProviderError] = []

    def fail(self, error: ProviderError) -> None:
        self.failures.append(error)


async def test_a_transcriber_that_stops_fails_every_caller_and_admits_no_other() -> None:
    async def breaks(pcm: bytes) -> str:
        raise OSError("the model is gone")

    scheduler = TranscriptionScheduler(breaks)
    with scheduler.working():
        one, other = Caller(), Caller()
        for caller in (one, other):
            scheduler.join(caller)
        scheduler.put(job(one))
        async with asyncio.timeout(5):
            while not other.failures:
                await asyncio.sleep(0.001)
        for caller in (one, other):
            assert [str(failure) for failure in caller.failures] == ["the transcriber stopped: OSError"]
        with pytest.raises(ProviderError, match="stopped"):
            scheduler.join(Caller())


async def test_a_vendor_s_transcriber_takes_several_jobs_at_once() -> None:
    running = 0
    both = asyncio.Event()

    async def transcribe(pcm: bytes) -> str:
        nonlocal running
        running += 1
        if running == 2:
            both.set()
        await both.wait()
        return "words"

    done: asyncio.Queue[Job] = asyncio.Queue()
    scheduler = TranscriptionScheduler(transcribe, at_once=2)
    with scheduler.working():
        async with asyncio.timeout(5):
            for owner in ("one", "two"):
                scheduler.put(Job(owner, b"", 0, 0, True, done.put_nowait))
            assert [(await done.get()).text, (await done.get()).text] == ["words", "words"]
