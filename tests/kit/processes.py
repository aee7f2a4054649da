"""The product as a person runs it: `antiphon up` and workers as processes of their own, looked at from outside.

    async with platform(tmp_path) as home:
        await home.set(scripted("echo"))
        heard = await home.talk("echo", utterances=2)
        assert heard.words.count("Hello.") == 1

`tests/kit/house.py` is the same product in the loop of a test. Linux only where it looks into /proc.
"""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from antiphon_testing.recording import Recording
from antiphon_testing.websocket_caller import Caller, dial
from bus.connect import Bus, connect
from bus.message import Message
from bus.settings import BusSettings
from bus.workers import list_workers
from config_service.client import ConfigClient
from schemas import events, subjects
from schemas.agent import AgentDocument
from schemas.audio import AGENT_HZ, CALLER_HZ
from schemas.control import WorkerStatus
from schemas.events import Event
from stages.tts import token_codec
from tests.kit.command import ROOT, Told, antiphon

STARTS_WITHIN_S = 60.0  # six interpreters on a machine that has other things to do
ENDS_WITHIN_S = 15.0  # what `up` promises is asserted by the test; this only keeps a broken one from hanging
ANSWERED_WITHIN_S = 30.0
LOOK_EVERY_S = 0.05
LOUD = b"\x00\x20\x00\xe0" * (CALLER_HZ * 300 // 1000 // 2)  # 300 ms of a square wave: an utterance for the script
COMMAND = (sys.executable, "-m", "cli.main")


# --- processes --------------------------------------------------------------------------------------------------------


def alive(pid: int) -> bool:
    """Whether a process runs; one that nobody has buried yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def descendants(pid: int) -> list[int]:
    """Children of a process, their children, and so on."""
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
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def memory_kb(pid: int) -> int:
    """What the process has written to and nobody else has: without pages of files, of which its share falls and rises
    by megabytes as others run the same programs.
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
    """Return once it holds; raises TimeoutError."""
    async with asyncio.timeout(within_s):
        while not met():  # processes tell nobody when they go
            await asyncio.sleep(LOOK_EVERY_S)


@contextmanager
def taken_port() -> Iterator[int]:
    """One where something listens already, and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield int(listener.getsockname()[1])


def _close(numbers: tuple[int, ...]) -> None:
    for number in numbers:
        os.close(number)


class Running:
    """A command that stays until it is ended; what it says goes into files. inside: a network namespace."""

    def __init__(
        self, folder: Path, *arguments: object, closed: tuple[int, ...] = (), inside: str = "", **environment: str
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        name = f"{arguments[0]}-{time.monotonic_ns()}"
        self._out, self._err = folder / f"{name}.out", folder / f"{name}.err"
        ours = {key: value for key, value in os.environ.items() if not key.startswith("ANTIPHON_")}
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self._process = subprocess.Popen(
                [*(("ip", "netns", "exec", inside) if inside else ()), *COMMAND, *map(str, arguments)],
                cwd=ROOT, env={**ours, "COLUMNS": "200", **environment},
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
        """The exit code, None while it runs."""
        return self._process.poll()

    def told(self) -> list[dict[str, Any]]:
        """Its whole lines so far, of which each is a JSON object."""
        return [json.loads(line) for line in self.out.splitlines(keepends=True) if line.endswith("\n")]

    async def ready(self) -> dict[str, Any]:
        """Its first line, waited for; raises AssertionError with what it complained of instead."""
        await until(lambda: "\n" in self.out or self.code is not None, STARTS_WITHIN_S)
        assert self.told(), f"exit code {self.code}: {self.err}"
        return self.told()[0]

    def send(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    async def ended(self, within_s: float = ENDS_WITHIN_S) -> int:
        """The exit code, waited for."""
        await until(lambda: self.code is not None, within_s)
        assert self.code is not None
        return self.code

    async def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Ask it to end; returns its exit code."""
        self.send(number)
        return await self.ended()

    def kill(self) -> None:
        """End it and all below it, whatever it is doing: the last resort of a test that failed."""
        for pid in [*descendants(self.pid), self.pid]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.wait()


@contextmanager
def running(
    folder: Path, *arguments: object, closed: tuple[int, ...] = (), inside: str = "", **environment: str
) -> Iterator[Running]:
    """A command that stays, gone at the end with everything below it; it starts without the files `closed`."""
    process = Running(folder, *arguments, closed=closed, inside=inside, **environment)
    try:
        yield process
    finally:
        process.kill()


# --- calls ------------------------------------------------------------------------------------------------------------


class Facts:
    """Every event on the bus since it was opened, by session."""

    def __init__(self) -> None:
        self._of: dict[str, list[Event]] = defaultdict(list)

    def hear(self, message: Message) -> None:
        with suppress(events.BadEvent):
            event = events.decode(message.data)
            self._of[event.session].append(event)

    @property
    def sessions(self) -> list[str]:
        return list(self._of)

    def of(self, session: str, kind: type[Event] = Event) -> list[Any]:
        return [event for event in self._of[session] if isinstance(event, kind)]

    async def until(self, session: str, kind: type[Event], number: int = 1, within_s: float = ANSWERED_WITHIN_S) -> Any:
        """The `number`th event of a kind, waited for."""
        try:
            await until(lambda: len(self.of(session, kind)) >= number, within_s)
        except TimeoutError:
            said = " ".join(events.tag(event) for event in self.of(session))
            raise AssertionError(f"no {kind.__name__} {number} of {session}: {said}") from None
        return self.of(session, kind)[number - 1]


@dataclass
class Heard:
    """How one caller's call went. words: every text that was in the audio which it heard."""

    session: str
    words: list[str]
    problem: str


class Platform:
    """A running `antiphon up`."""

    def __init__(self, up: Running, ready: dict[str, Any], bus: Bus, call_events: Facts) -> None:
        self.up = up
        self.nats: str = ready["nats"]
        self.websocket: str = ready["websocket"]
        self.page: str = ready["talk"]
        self.livekit: str = ready.get("livekit", "")
        self.data = Path(ready["data"])
        self.bus = bus
        self.events = call_events

    async def antiphon(self, *arguments: object, stdin: str = "", **environment: str) -> Told:
        """A command that finds this platform by its data folder."""
        return await antiphon(*arguments, "--data", self.data, stdin=stdin, **environment)

    async def set(self, *agents: AgentDocument) -> None:
        await ConfigClient(self.bus).set(list(agents))

    async def workers(self, stage: str = "") -> list[WorkerStatus]:
        return [worker for worker in await list_workers(self.bus) if stage in ("", worker.stage)]

    async def talk(self, agent: str, utterances: int = 1, url: str = "") -> Heard:
        """A caller who says something, hears the answer out, and so on; then hangs up."""
        with Recording() as kept:
            async with dial(url or self.websocket, agent, recording=kept) as caller:
                await self.converse(caller, utterances)
            heard = token_codec.texts(kept.lines(AGENT_HZ)[1].tobytes())
            return Heard(caller.session, heard, caller.problem)

    async def converse(self, caller: Caller, utterances: int) -> None:
        """The first utterances of a caller, each answered. An agent without a greeting is expected."""
        await self.events.until(caller.session, events.SessionOpened)
        for number in range(1, utterances + 1):
            await self.ask(caller, number)

    async def ask(self, caller: Caller, number: int) -> None:
        """The `number`th utterance of a caller, whose answer is heard to its end."""
        caller.say(LOUD)
        await self.events.until(caller.session, events.TurnEnded, number)
        await until(lambda: not caller.hearing or caller.over.is_set(), ANSWERED_WITHIN_S)


@asynccontextmanager
async def platform(folder: Path, *options: object, **environment: str) -> AsyncIterator[Platform]:
    """`antiphon up --json` with scripted providers in `folder`, ready, and a bus to look at it."""
    command = ("up", "--json", "--warm", "scripted", "--data", folder, *options)
    with running(folder, *command, closed=(), **environment) as up:
        async with looked_at(up) as home:
            yield home


@asynccontextmanager
async def looked_at(up: Running) -> AsyncIterator[Platform]:
    """A platform that was started before, once it is ready."""
    ready = await up.ready()
    async with connect(BusSettings(url=ready["nats"]), "test") as bus:
        call_events = Facts()
        for plane in (subjects.events(), subjects.ephemerals()):
            await bus.subscribe(plane, call_events.hear)
        await bus.flush()
        yield Platform(up, ready, bus, call_events)
