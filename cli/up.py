"""`antiphon up`: everything on this machine, as processes of this one, with a live status table."""

import asyncio
import contextlib
import fcntl
import json as json_
import os
import signal
import sys
import time
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import IO, Annotated
from urllib.parse import urlsplit

import typer

from cli.errors import Failed, WrongUse

STAGES = ("ingress", "stt", "llm", "tts", "egress")
READY_WITHIN_S = 60.0  # the local models load in seconds; a machine under load takes longer
ENDS_WITHIN_S = 4.0  # calls end within 5 s of SIGTERM, NATS included
RESTARTS, RESTARTS_WITHIN_S = 5, 30.0  # a worker that dies more often than this will not live
REFRESH_S = 1.0


def up(
    workers: Annotated[str, typer.Option(help="Processes a stage: N, or stt=2,llm=1,...")] = "1",
    data: Annotated[Path | None, typer.Option(help="Data folder [env ANTIPHON_DATA, else ./data]")] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON object a line; `ready` when all is.")] = False,
    capacity: Annotated[int, typer.Option(min=1, help="Sessions at once per worker.")] = 100,
    warm: Annotated[str, typer.Option(help="Providers to load before ready: local, or none.")] = "local",
    nats_port: Annotated[int, typer.Option(min=0, max=65535, help="0 is any free port.")] = 0,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Where callers connect; 0 is any free port.")] = 0,
    host: Annotated[str, typer.Option(help="Where callers connect.")] = "127.0.0.1",
) -> None:
    """Start NATS, the config service and every stage on this machine.

    Ctrl-C or SIGTERM ends the calls within 5 seconds and leaves nothing behind.

    Example: antiphon up --workers stt=2,llm=1
    """
    from cli import processes
    from cli.where import data_folder

    counts = parse_workers(workers)
    if port and counts["ingress"] > 1:
        raise WrongUse("--port is one port: with several ingress workers leave it free")
    options = Options(data_folder(data), counts, capacity, warm, nats_port, host, port)
    processes.run(_stay(options, json))


class Options:
    """What to start, and where."""

    def __init__(
        self, data: Path, counts: dict[str, int], capacity: int = 100, warm: str = "local",
        nats_port: int = 0, host: str = "127.0.0.1", port: int = 0,
    ) -> None:  # fmt: skip
        self.data = data.absolute()
        self.counts = counts
        self.capacity = capacity
        self.warm = warm
        self.nats_port = nats_port
        self.host = host
        self.port = port


class Child:
    """One process of ours, restarted when it dies."""

    def __init__(self, stage: str, number: int, arguments: list[str], log: Path) -> None:
        self.stage = stage
        self.url = ""
        self.ready = asyncio.Event()
        self.stopping = False
        self.process: asyncio.subprocess.Process | None = None
        self._arguments = arguments
        self._log = log / f"{stage}-{number}.log"
        self._deaths: deque[float] = deque(maxlen=RESTARTS)

    async def keep(self) -> None:
        """Run it until `stop`; raises Failed when it does not stay alive."""
        while not self.stopping:
            await self._live_once()
            if self.stopping:
                return
            now = time.monotonic()
            young = len(self._deaths) == RESTARTS and now - self._deaths[0] < RESTARTS_WITHIN_S
            if young or not self.ready.is_set():
                raise Failed(f"the {self.stage} worker does not stay alive: {last_line(self._log)} (log: {self._log})")
            self._deaths.append(now)

    async def _live_once(self) -> None:
        with self._log.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "cli.main", "run", self.stage, "--json", "--parent", *self._arguments,
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=log,
                start_new_session=True,  # Ctrl-C is for us alone: we end them in their order
            )  # fmt: skip
        assert self.process.stdout
        async for line in self.process.stdout:
            told = json_.loads(line)
            self.url = told.get("url", "")
            if self.url and not self.ready.is_set():  # started again it listens where callers know it to be
                self._arguments = [*self._arguments, "--port", str(urlsplit(self.url).port)]
            self.ready.set()
        await self.process.wait()

    async def stop(self) -> None:
        """Close its pipe: it ends its sessions and goes; what has not gone in time is killed."""
        self.stopping = True
        process = self.process
        if process is None or process.returncode is not None:
            return
        assert process.stdin
        process.stdin.close()
        try:
            await asyncio.wait_for(process.wait(), ENDS_WITHIN_S)
        except TimeoutError:
            process.kill()
            await process.wait()


class Platform:
    """A running product on this machine."""

    def __init__(self, nats: str, children: list[Child]) -> None:
        self.nats = nats
        self.children = children

    @property
    def websocket(self) -> str:
        """Where callers connect: the first ingress; `call` asks for a line instead."""
        return next(child.url for child in self.children if child.stage == "ingress")


@asynccontextmanager
async def platform(options: Options, stop: asyncio.Event) -> AsyncIterator[Platform]:
    """Everything, started in order and ready; stopped in the reverse order, NATS last. Raises Failed or BusError.

    When `stop` is set while it starts, it is yielded as far as it has come.
    """
    from bus.server import serve
    from cli.where import RUN_FILE

    data = options.data
    data.mkdir(parents=True, exist_ok=True)
    with _only_one(data):
        async with serve(data, options.nats_port or None) as nats, asyncio.TaskGroup() as keeping:
            children = _children(options, nats)
            kept = [keeping.create_task(child.keep()) for child in children]
            try:
                await _all_ready(children, stop)
                running = Platform(nats, children)
                if not stop.is_set():
                    await _welcome(nats)
                told = {"pid": os.getpid(), "nats": nats, "websocket": running.websocket, "data": str(data)}
                _write(data / RUN_FILE, json_.dumps(told))
                yield running
            finally:
                (data / RUN_FILE).unlink(missing_ok=True)
                for child in children:
                    child.stopping = True
                await asyncio.gather(*(child.stop() for child in children if child.stage == "ingress"))
                await asyncio.gather(*(child.stop() for child in children))
                for task in kept:
                    task.cancel()


def parse_workers(text: str) -> dict[str, int]:
    """`2` or `stt=2,llm=1` as stage -> processes; raises WrongUse."""
    counts = dict.fromkeys(STAGES, 1)
    try:
        if text.strip().isdigit():
            counts = dict.fromkeys(STAGES, int(text))
        else:
            for part in text.split(","):
                stage, _, number = part.strip().partition("=")
                if stage not in counts:
                    raise WrongUse(f"--workers: no stage {stage!r}: there are {', '.join(STAGES)}")
                counts[stage] = int(number)
    except ValueError:
        raise WrongUse(f"--workers {text!r} is not a number, nor like stt=2,llm=1") from None
    if min(counts.values()) < 1:
        raise WrongUse("--workers: every stage needs at least one")
    return counts


def last_line(log: Path) -> str:
    """The last thing a worker said before it died."""
    lines = log.read_text(errors="replace").strip().splitlines() if log.exists() else []
    return lines[-1].removeprefix("error: ") if lines else "it said nothing"


def _children(options: Options, nats: str) -> list[Child]:
    logs = options.data / "logs"
    logs.mkdir(exist_ok=True)
    common = ["--nats", nats, "--data", str(options.data)]
    children = [Child("config", 0, common, logs)]
    for stage, count in options.counts.items():
        for number in range(count):
            own = ["--capacity", str(options.capacity)]
            if stage == "ingress":
                own += ["--host", options.host, "--port", str(options.port)]
            elif stage != "egress" and options.warm not in ("", "none"):
                own += ["--warm", options.warm]
            children.append(Child(stage, number, common + own, logs))
    return children


async def _welcome(nats: str) -> None:
    """Somebody to call from the first start on: the example agent, unless there is one of that name already."""
    from bus.connect import connect
    from cli.agent import import_new
    from cli.where import EXAMPLES
    from schemas.settings import BusSettings

    async with connect(BusSettings(url=nats), "antiphon up") as bus:
        await import_new(bus, [EXAMPLES / "agents" / "receptionist.json"])


async def _all_ready(children: list[Child], stop: asyncio.Event) -> None:
    async def ready() -> None:
        for child in children:
            await child.ready.wait()

    waits = [asyncio.create_task(ready()), asyncio.create_task(stop.wait())]
    done, _ = await asyncio.wait(waits, timeout=READY_WITHIN_S, return_when=asyncio.FIRST_COMPLETED)
    for wait in waits:
        wait.cancel()
    if not done:
        late = ", ".join(child.stage for child in children if not child.ready.is_set())
        raise Failed(f"not ready within {READY_WITHIN_S:.0f} s: {late}: see the logs folder")


@contextmanager
def _only_one(data: Path) -> Iterator[None]:
    lock: IO[str] = (data / "lock").open("a+")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.seek(0)
        pid = lock.read().strip() or "another process"
        what_to_do = "stop it, or choose another folder with --data"
        raise Failed(f"antiphon runs in {data} already (pid {pid}): {what_to_do}") from None
    lock.truncate(0)
    lock.write(str(os.getpid()))
    lock.flush()
    try:
        yield
    finally:
        lock.truncate(0)
        lock.close()


def _write(path: Path, text: str) -> None:
    beside = path.with_suffix(".new")
    beside.write_text(text)
    beside.replace(path)


# --- the command ------------------------------------------------------------------------------------------------------


async def _stay(options: Options, json: bool) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with platform(options, stop) as running:
        if stop.is_set():
            return
        if json:
            told = {"event": "ready", "nats": running.nats, "websocket": running.websocket, "data": str(options.data)}
            typer.echo(json_.dumps(told))
            await stop.wait()
        else:
            await _show(running, options, stop)


async def _show(running: Platform, options: Options, stop: asyncio.Event) -> None:
    from rich.console import Console, Group
    from rich.live import Live
    from rich.text import Text

    from bus.connect import connect
    from cli.ps import tables, workers_on
    from schemas.settings import BusSettings

    console = Console()
    head = Text.from_markup(
        f"[bold]antiphon is up[/]  nats {running.nats}  calls {running.websocket}  data {options.data}\n"
        f"[dim]call it: antiphon call question.wav --data {options.data}   stop it: Ctrl-C[/]"
    )
    console.print(head)
    if not console.is_terminal:
        await stop.wait()
        return
    async with connect(BusSettings(url=running.nats), "antiphon up") as bus:
        with Live(console=console, auto_refresh=False) as live:
            while not stop.is_set():
                live.update(Group(*tables(await workers_on(bus))), refresh=True)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), REFRESH_S)
