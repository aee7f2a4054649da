"""Whose audio is read next."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

from hypothesis import given
from hypothesis import strategies as st

from stages.runtime.providers import ProviderError
from stages.stt.transcription_scheduler import Job, Queue, TranscriptionScheduler


def job(owner: str, *, final: bool = True, pcm: bytes = b"") -> Job:
    return Job(owner, pcm, 0, 0, final, lambda job: None)


def test_callers_take_turns_however_much_one_of_them_says() -> None:
    queue = Queue()
    for owner in ("talker", "talker", "talker", "quiet"):
        queue.put(job(owner))
    assert [taken.owner for _ in range(4) if (taken := queue.take())] == ["talker", "quiet", "talker", "talker"]


def test_a_final_goes_before_every_guess() -> None:
    queue = Queue()
    guess, final = job("one", final=False), job("two")
    queue.put(guess)
    queue.put(final)
    assert [queue.take(), queue.take(), queue.take()] == [final, guess, None]


def test_a_newer_guess_replaces_the_one_that_waits() -> None:
    queue = Queue()
    queue.put(job("one", final=False))
    newer = job("one", final=False)
    queue.put(newer)
    assert [queue.take(), queue.take()] == [newer, None]


def test_what_the_caller_spoke_on_over_is_not_read() -> None:
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


async def test_a_recogniser_that_fails_once_tells_that_caller_and_reads_on() -> None:
    def transcribe(pcm: bytes) -> str:
        if not pcm:
            raise ProviderError("server", "nothing to read")
        return pcm.decode()

    done: asyncio.Queue[Job] = asyncio.Queue()
    with ThreadPoolExecutor(1) as thread:
        desk = TranscriptionScheduler(transcribe, thread)
        working = asyncio.get_running_loop().create_task(desk.work())
        for pcm in (b"", b"words"):
            desk.put(Job("one", pcm, 0, 0, True, done.put_nowait))
        failed, read = await done.get(), await done.get()
        working.cancel()
    assert isinstance(failed.failure, ProviderError)
    assert read.text == "words"
