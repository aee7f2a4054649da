"""A platform after a hundred calls, and after two hundred: nothing of them is left in its processes."""

import asyncio
from pathlib import Path

import msgspec

from schemas import control, events, subjects
from stages.worker import COLLECT_AFTER_S
from tests.kit.house import scripted
from tests.kit.processes import Platform, alive, descendants, memory_kb, open_files, platform

AT_ONCE = 10
CALLS = 100
GROWTH_KB = 2 * 1024  # calls 101 to 200, all our processes together
# nats-server remembers what was said: the journal's newest block, its index, two minutes of message ids;
# and Go's heap grows in steps. Measured 0.9 to 1.6 MB for these calls, 6 MB for the hundred after: it finds no drip.
NATS_GROWTH_KB = 8 * 1024
SHORT = scripted("short", stt={"final_ms": 20}, llm={"replies": ["Yes."], "first_ms": 5}, tts={"first_ms": 5})
PATTERN = control.Pattern(speech_ms=100, every_ms=200, turns=1, start_ms=40, linger_ms=800)


async def calls(home: Platform, number: int) -> None:
    """That many calls, AT_ONCE at a time, each answered and over."""

    async def one() -> None:
        asked = msgspec.msgpack.encode(control.ClaimLine("short", "null", PATTERN))
        answer = await home.bus.request(subjects.claim(subjects.INGRESS), asked, 5)
        line = msgspec.msgpack.decode(answer, type=control.Line)
        assert not line.refused, line
        closed = await home.facts.until(line.session, events.SessionClosed)
        assert closed.reason == "hangup", closed
        assert [turn.heard for turn in home.facts.of(line.session, events.TurnEnded)] == ["Yes."]

    for _ in range(number // AT_ONCE):
        await asyncio.gather(*(one() for _ in range(AT_ONCE)))


async def at_rest(home: Platform) -> dict[int, int]:
    """pid -> open files, once every worker has forgotten every call."""
    async with asyncio.timeout(10):
        while any(worker.sessions for worker in await home.workers()):
            await asyncio.sleep(0.05)
    await asyncio.sleep(2 * COLLECT_AFTER_S)  # what the last calls left in cycles is collected once nothing goes on
    return {pid: open_files(pid) for pid in processes(home)}


def processes(home: Platform) -> list[int]:
    return [home.up.pid, *(pid for pid in descendants(home.up.pid) if alive(pid))]


def is_nats(pid: int) -> bool:
    return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0].endswith(b"nats-server")


async def test_nothing_is_left_of_two_hundred_calls(tmp_path: Path) -> None:
    async with platform(tmp_path) as home:
        await home.set(SHORT)
        await calls(home, AT_ONCE)  # what is opened at the first call stays open
        fresh = await at_rest(home)
        await calls(home, CALLS - AT_ONCE)
        assert await at_rest(home) == fresh
        after_hundred = {pid: memory_kb(pid) for pid in processes(home)}
        await calls(home, CALLS)
        assert await at_rest(home) == fresh
        after_two = {pid: memory_kb(pid) for pid in processes(home)}
        grown = {pid: after_two[pid] - after_hundred[pid] for pid in after_two}
        nats = sum(grown.pop(pid) for pid in list(grown) if is_nats(pid))
        assert sum(grown.values()) <= GROWTH_KB, grown
        assert nats <= NATS_GROWTH_KB
