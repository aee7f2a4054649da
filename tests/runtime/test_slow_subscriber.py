"""Who listens to calls costs them nothing, however slow, frozen or dead it is."""

import asyncio
import os
import signal
import sys
from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import nats
import pytest
from nats.aio.msg import Msg

from antiphon_testing.agents import scripted_agent
from antiphon_testing.bus import until
from antiphon_testing.event_recorder import SessionEvents
from antiphon_testing.platform import Platform, open_platform
from bus import journal
from schemas import events, subjects

pytestmark = pytest.mark.realtime

CALLS = 4
TALK = {"turns": 2, "speech_ms": 300, "every_ms": 1_800, "start_ms": 800, "linger_ms": 1_200}
DESK = scripted_agent(
    "desk",
    greeting="Hello.",
    stt={"texts": ["one", "two"]},
    llm={"replies": ["You said {text}."]},
    tts={"duration_ms": 300},  # an answer is over long before the caller speaks again
)
SLOW_S = 0.3  # longer than call_events of a call are apart
AT_THE_END = {"unknown_session", "unknown_to_owner"}  # a frame of silence that was on its way when the call closed
BALLAST = b"\0" * 60_000
BALLAST_MESSAGES = 3_000  # 180 MB: more than the server keeps for a reader (64 MB) and the sockets between them hold

LISTENER = """
import asyncio, sys, nats

async def heard(message):
    print(message.subject, flush=True)

async def main():
    bus = await nats.connect(sys.argv[1])
    await bus.subscribe("va1.event.*.*.stt.transcript_final", cb=heard)
    await bus.subscribe("va1.ephemeral.>", cb=heard)
    await bus.flush()
    print("listening", flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


class Story(NamedTuple):
    """What happened in a call, without its times: what each stage said, the words, what was heard of the answers."""

    said: dict[str, list[str]]
    words: list[str]
    heard: list[tuple[int, str, bool]]


async def told(home: Platform, call: SessionEvents) -> Story:
    """The story of a call that is over, of which nothing is missing: neither live nor in the journal."""
    said = defaultdict(list)
    numbers = defaultdict(list)
    for event in call.events:
        said[events.stage(event)].append(events.tag(event))
        numbers[events.stage(event), event.epoch].append(event.seq)
    assert all(seqs == list(range(len(seqs))) for seqs in numbers.values()), numbers
    kept = Counter(events.tag(events.decode(data)) for data in await journal.read(home.bus, call.session))
    assert kept == Counter(call.tags)
    return Story(
        dict(said),
        [event.text for event in call.all(events.TranscriptFinal)],
        [(event.turn, event.heard, event.interrupted) for event in call.all(events.TurnEnded)],
    )


async def conversations(home: Platform, number: int = CALLS) -> list[SessionEvents]:
    """Some calls at once, each from its first event to its last."""
    calls = [await home.simulated_call("desk", **TALK) for _ in range(number)]
    for call in calls:
        await call.until(events.SessionClosed, within_s=40)
    return calls


@pytest.fixture(scope="module")
def quiet(tmp_path_factory: pytest.TempPathFactory) -> Story:
    """A call that nobody listens to."""

    async def call() -> Story:
        async with open_platform(tmp_path_factory.mktemp("quiet"), [DESK]) as home:
            [alone] = await conversations(home, 1)
            return await told(home, alone)

    story = asyncio.run(call())
    assert story.words == ["one", "two"]
    assert story.heard == [(1, "Hello.", False), (2, "You said one.", False), (3, "You said two.", False)]
    return story


async def undisturbed(home: Platform, calls: list[SessionEvents], quiet: Story) -> None:
    """Every call went as the quiet one, and no stage dropped or refused anything."""
    for call in calls:
        assert await told(home, call) == quiet
    for workers in home.workers.values():
        for worker in workers:
            lost = {reason: times for reason, times in worker.counters.items() if reason not in AT_THE_END}
            assert (worker.stage, lost, worker.bus.undelivered) == (worker.stage, {}, 0)


@asynccontextmanager
async def listener(url: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """A subscriber of transcripts in a process of its own, with the limits that nats-py has by default."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", LISTENER, url, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
    )
    assert process.stdout is not None
    try:
        assert await asyncio.wait_for(process.stdout.readline(), 20) == b"listening\n"
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def server_log(folder: Path) -> str:
    return (folder / "nats" / "nats.log").read_text()


async def test_a_subscriber_that_sleeps_over_every_transcript(tmp_path: Path, quiet: Story) -> None:
    async with open_platform(tmp_path, [DESK]) as home:
        heard: list[str] = []

        async def doze(message: Msg) -> None:
            heard.append(events.decode(message.data).session)
            await asyncio.sleep(SLOW_S)

        client = await nats.connect(home.nats)
        await client.subscribe(f"{subjects.ROOT}.event.>", cb=doze)
        await client.flush()
        calls = await conversations(home)
        behind = sum(len(call.events) for call in calls) - len(heard)
        assert behind > len(heard) > 0  # most of the calls is still before it
        await client.close()
        await undisturbed(home, calls, quiet)


async def test_a_subscriber_that_is_frozen_until_the_server_gives_it_up(tmp_path: Path, quiet: Story) -> None:
    async with open_platform(tmp_path, [DESK]) as home, listener(home.nats) as frozen:
        frozen.send_signal(signal.SIGSTOP)
        try:
            talking = asyncio.create_task(conversations(home))
            for number in range(BALLAST_MESSAGES):  # what months of transcripts would be
                home.bus.publish(subjects.ephemeral("desk", "ballast", "stt.levels"), BALLAST)
                if not number % 100:
                    await home.bus.flush()
            await until(lambda: "Slow Consumer" in server_log(tmp_path))
            await undisturbed(home, await talking, quiet)
        finally:
            frozen.send_signal(signal.SIGCONT)


async def test_a_subscriber_that_dies_while_it_listens(tmp_path: Path, quiet: Story) -> None:
    async with open_platform(tmp_path, [DESK]) as home, listener(home.nats) as mortal:
        talking = asyncio.create_task(conversations(home))
        assert mortal.stdout is not None
        assert b"transcript_final" in await asyncio.wait_for(mortal.stdout.readline(), 20)
        os.kill(mortal.pid, signal.SIGKILL)
        await undisturbed(home, await talking, quiet)
        assert await mortal.wait() == -signal.SIGKILL
