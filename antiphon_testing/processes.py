"""A platform as users run it: `antiphon up` and workers in processes of their own, observed from outside.

    async with antiphon_up(tmp_path) as platform:
        await platform.set(scripted_agent("echo"))
        result = await platform.talk("echo", utterances=2)
        assert result.words.count("Hello.") == 1

`platform.py` runs the same stages in the event loop of a test. What reads /proc runs on Linux only.
"""

import asyncio
import json
import os
import signal
import socket
import subprocess
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from antiphon_testing.command import COMMAND, ROOT, Finished, antiphon
from antiphon_testing.environment import without_antiphon
from antiphon_testing.event_recorder import EventRecorder, record_events
from antiphon_testing.recording import Recording
from antiphon_testing.websocket_caller import Caller, dial
from bus.connect import Bus, connect
from bus.settings import BusSettings
from bus.workers import list_workers
from config_service.client import ConfigClient
from schemas import events
from schemas.agent import AgentDocument
from schemas.audio import AGENT_HZ, CALLER_HZ
from schemas.control import WorkerStatus
from stages.tts import token_codec

STARTS_WITHIN_S = 60.0  # six interpreters start on a busy machine
ENDS_WITHIN_S = 15.0  # a test asserts the bound of `up`; this only keeps a broken one from hanging
ANSWERED_WITHIN_S = 30.0
LOOK_EVERY_S = 0.05
LOUD = b"\x00\x20\x00\xe0" * (CALLER_HZ * 300 // 1000 // 2)  # 300 ms of a square wave: an utterance for the script


# --- processes --------------------------------------------------------------------------------------------------------


def alive(pid: int) -> bool:
    """Return whether a process runs. A zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def descendants(pid: int) -> list[int]:
    """Return the children of a process, their children, and so on."""
    parents: dict[int, list[int]] = defaultdict(list)
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, IndexError):
            parent = (folder / "stat").read_text().rpartition(")")[2].split()[1]
            parents[int(parent)].append(int(folder.name))
    found = list(parents[pid])
    for child in found:
        found += parents[child]
    return found


def open_files(pid: int) -> int:
    """Return how many files a process has open."""
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def memory_kb(pid: int) -> int:
    """Return the kilobytes that a process has written to and shares with no other.

    Pages of files are left out: their share rises and falls by megabytes as other processes run the same programs.
    """
    told = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return sum(int(line.split()[1]) for line in told.splitlines() if line.startswith(("Pss_Anon:", "Pss_Shmem:")))


@contextmanager
def frozen(pids: Iterable[int]) -> Iterator[None]:
    """Processes that do nothing, but whose connections stay."""
    pids = list(pids)
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


async def until(met: Callable[[], bool], within_s: float) -> None:
    """Return when `met` returns true. Raises TimeoutError."""
    async with asyncio.timeout(within_s):
        while not met():  # no event comes when a process ends
            await asyncio.sleep(LOOK_EVERY_S)


@contextmanager
def taken_port() -> Iterator[int]:
    """Yield a port at which a server listens that never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield int(listener.getsockname()[1])


def _close(numbers: tuple[int, ...]) -> None:
    for number in numbers:
        os.close(number)


class Running:
    """A command that runs until it is ended; its output goes into files.

    closed: file descriptors that it starts without. inside: a network namespace. environment: added to the test's own.
    """

    def __init__(
        self, folder: Path, *arguments: object, closed: tuple[int, ...] = (), inside: str = "", **environment: str
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        name = f"{arguments[0]}-{time.monotonic_ns()}"
        self._out, self._err = folder / f"{name}.out", folder / f"{name}.err"
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self._process = subprocess.Popen(
                [*(("ip", "netns", "exec", inside) if inside else ()), *COMMAND, *map(str, arguments)],
                cwd=ROOT, env={**without_antiphon(), "COLUMNS": "200", **environment},
                stdin=subprocess.DEVNULL, stdout=out, stderr=err, start_new_session=True,
                preexec_fn=(lambda: _close(closed)) if closed else None,
            )  # fmt: skip
        self.pid = self._process.pid

    @property
    def out(self) -> str:
        return self._out.read_text()

    @property
    def err(self) -> str:
        return self._err.read_text()

    @property
    def code(self) -> int | None:
        """Return the exit code, None while it runs."""
        return self._process.poll()

    def lines(self) -> list[dict[str, Any]]:
        """Return its whole lines so far, each a JSON object (hence Any)."""
        return [json.loads(line) for line in self.out.splitlines(keepends=True) if line.endswith("\n")]

    async def ready(self) -> dict[str, Any]:
        """Return its first line, waited for. Raises AssertionError with its standard error if it ends before."""
        await until(lambda: "\n" in self.out or self.code is not None, STARTS_WITHIN_S)
        assert self.lines(), f"exit code {self.code}: {self.err}"
        return self.lines()[0]

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    async def ended(self, within_s: float = ENDS_WITHIN_S) -> int:
        """Wait for its end; return the exit code."""
        await until(lambda: self.code is not None, within_s)
        assert self.code is not None
        return self.code

    async def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send it a signal and wait for its end; return the exit code."""
        self.send(number)
        return await self.ended()

    def kill(self) -> None:
        """Kill it and all its descendants: a test that failed may have left it in any state."""
        for pid in [*descendants(self.pid), self.pid]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.wait()


@contextmanager
def running(
    folder: Path, *arguments: object, closed: tuple[int, ...] = (), inside: str = "", **environment: str
) -> Iterator[Running]:
    """Run a command; kill it and its descendants at the end. Arguments as for `Running`."""
    process = Running(folder, *arguments, closed=closed, inside=inside, **environment)
    try:
        yield process
    finally:
        process.kill()


# --- calls ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class CallResult:
    """How one call went. words: the texts in the tones that the caller heard. problem: "" for an orderly end."""

    session: str
    words: list[str]
    problem: str


class Platform:
    """A running `antiphon up`. bus: a connection for the test. events: of every session since the test began."""

    def __init__(self, up: Running, ready: dict[str, Any], bus: Bus, recorder: EventRecorder) -> None:
        self.up = up
        self.nats: str = ready["nats"]
        self.websocket: str = ready["websocket"]
        self.page: str = ready["talk"]
        self.livekit: str = ready.get("livekit", "")
        self.data = Path(ready["data"])
        self.bus = bus
        self.events = recorder

    async def antiphon(self, *arguments: object, stdin: str = "", **environment: str) -> Finished:
        """Run a command that finds this platform by its data folder."""
        return await antiphon(*arguments, "--data", self.data, stdin=stdin, **environment)

    async def set(self, *agents: AgentDocument) -> None:
        """Store agents."""
        await ConfigClient(self.bus).set(list(agents))

    async def workers(self, stage: str = "") -> list[WorkerStatus]:
        """Return the status of all workers, or of those of one stage."""
        return [worker for worker in await list_workers(self.bus) if stage in ("", worker.stage)]

    async def talk(self, agent: str, utterances: int = 1, url: str = "") -> CallResult:
        """Make one call: speak, hear the answer to its end, and so on; then hang up. url: of another endpoint."""
        with Recording() as kept:
            async with dial(url or self.websocket, agent, recording=kept) as caller:
                await self.converse(caller, utterances)
            heard = token_codec.texts(kept.lines(AGENT_HZ)[1].tobytes())
            return CallResult(caller.session, heard, caller.problem)

    async def converse(self, caller: Caller, utterances: int) -> None:
        """Let a caller speak `utterances` times and be answered each time, by an agent without a greeting."""
        await self.events.until(caller.session, events.SessionOpened)
        for number in range(1, utterances + 1):
            await self.ask(caller, number)

    async def ask(self, caller: Caller, number: int) -> None:
        """Let a caller speak for the `number`th time and hear the answer to its end."""
        caller.say(LOUD)
        await self.events.until(caller.session, events.TurnEnded, number)
        await until(lambda: not caller.hearing or caller.over.is_set(), ANSWERED_WITHIN_S)


@asynccontextmanager
async def antiphon_up(folder: Path, *options: object, **environment: str) -> AsyncIterator[Platform]:
    """Run `antiphon up --json` with scripted providers in `folder`; yield it when it is ready."""
    command = ("up", "--json", "--warm", "scripted", "--data", folder, *options)
    with running(folder, *command, closed=(), **environment) as up:
        async with attach(up) as platform:
            yield platform


@asynccontextmanager
async def attach(up: Running) -> AsyncIterator[Platform]:
    """Yield a platform that was started before, when it is ready."""
    ready = await up.ready()
    async with connect(BusSettings(url=ready["nats"]), "test") as bus, record_events(bus) as recorder:
        yield Platform(up, ready, bus, recorder)
