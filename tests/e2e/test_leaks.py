"""A antiphon_up after a hundred calls, and after two hundred: nothing of them is left in its processes."""

import asyncio
from pathlib import Path

import msgspec

from antiphon_testing.agents import scripted_agent
from antiphon_testing.caller_pattern import CallerPattern
from antiphon_testing.processes import Platform, alive, antiphon_up, descendants, memory_kb, open_files
from schemas import control, events, subjects
from stages.runtime.worker import COLLECT_AFTER_S

AT_ONCE = 20
PORTION = 20  # calls between two rests: a worker collects cycles at rest, so what it needs at most is of so many
CALLS = 100
GROWTH_KB = 2 * 1024  # calls 101 to 200, all processes together, nats-server's included
# nats-server holds the journal's newest block, of 8 MB (docs/operations.md). These bytes before the first call fill
# one: then its buffer is as large as it gets. Go collects at a tenth more than is in use: garbage is not held.
BLOCK = [b" " * 100_000] * 90
COLLECTING = {"GOGC": "10"}
SHORT = scripted_agent("short", stt={"final_ms": 20}, llm={"replies": ["Yes."], "first_ms": 5}, tts={"first_ms": 5})
PATTERN = CallerPattern(speech_ms=100, every_ms=200, turns=1, start_ms=40, linger_ms=800)


async def calls(home: Platform, number: int) -> dict[int, int]:
    """That many calls, AT_ONCE at a time, each answered and over; a rest after each portion. Returns the last rest."""

    async def one() -> None:
        asked = control.encode(control.ClaimSession("short", "null", msgspec.structs.asdict(PATTERN)))
        answer = await home.bus.request(subjects.claim(subjects.INGRESS), asked, 5)
        line = control.decode(answer, control.SessionOffer)
        assert not line.refused, line
        closed = await home.events.until(line.session, events.SessionClosed)
        assert closed.reason == "hangup", closed
        assert [turn.heard for turn in home.events.of(line.session, events.TurnEnded)] == ["Yes."]

    for done in range(AT_ONCE, number + 1, AT_ONCE):
        await asyncio.gather(*(one() for _ in range(AT_ONCE)))
        if done % PORTION == 0 and done < number:
            await at_rest(home)
    return await at_rest(home)


async def at_rest(home: Platform) -> dict[int, int]:
    """pid -> open files, once every worker has forgotten every call."""
    async with asyncio.timeout(10):
        while any(worker.sessions for worker in await home.workers()):
            await asyncio.sleep(0.05)
    await asyncio.sleep(1.5 * COLLECT_AFTER_S)  # what the last calls left in cycles is collected once nothing goes on
    return {pid: open_files(pid) for pid in processes(home)}


def processes(home: Platform) -> list[int]:
    return [home.up.pid, *(pid for pid in descendants(home.up.pid) if alive(pid))]


async def test_nothing_is_left_of_two_hundred_calls(tmp_path: Path) -> None:
    async with antiphon_up(tmp_path, **COLLECTING) as home:
        await home.set(SHORT)
        for filler in BLOCK:
            home.bus.publish(subjects.event("none", "none", "none.none"), filler)
            await home.bus.flush()
        fresh = await calls(home, PORTION)  # what is opened at the first call stays open
        assert await calls(home, CALLS - PORTION) == fresh
        after_hundred = {pid: memory_kb(pid) for pid in processes(home)}
        assert await calls(home, CALLS) == fresh
        after_two = {pid: memory_kb(pid) for pid in processes(home)}
        grown = {pid: max(0, after_two[pid] - after_hundred[pid]) for pid in after_two}  # nobody pays for another
        assert sum(grown.values()) <= GROWTH_KB, grown
