"""Everything of one machine as processes of this one: NATS, config service and stages, started and stopped in order."""

import asyncio
import fcntl
import json
import os
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, TYPE_CHECKING

from cli.child_process import Child, free_port
from cli.discovery import EVERYWHERE, EXAMPLES, RUN_FILE
from cli.errors import Failed

if TYPE_CHECKING:
    from transports.livekit.settings import LiveKitSettings

STAGES = ("ingress", "stt", "llm", "tts", "egress")
READY_WITHIN_S = 60.0  # the local models load in seconds; a machine under load takes longer


@dataclass(frozen=True)
class Options:
    """What to start, and where. workers: stage -> processes. warm: providers to load before ready, comma-separated.

    nats_port, port, talk_port: 0 is any free port. livekit: start one here; rooms: of one that runs elsewhere.
    vad: the engine of voice activity detection, as `antiphon run stt --vad` takes it.
    agent_name, default_agent: which rooms are taken, and who answers where they do not say.
    """

    data: Path
    workers: Mapping[str, int] = field(default_factory=lambda: dict.fromkeys(STAGES, 1))
    capacity: int = 100
    warm: str = "local"
    nats_port: int = 0
    host: str = "127.0.0.1"
    port: int = 0
    talk_port: int = 0
    livekit: bool = False
    rooms: "LiveKitSettings | None" = None
    agent_name: str = ""
    default_agent: str = "receptionist"
    vad: str = "auto"


class Platform:
    """A running product on this machine. livekit: where its rooms are, empty without."""

    def __init__(self, nats: str, children: list[Child], livekit: str = "") -> None:
        self.nats = nats
        self.children = children
        self.livekit = livekit

    @property
    def websocket(self) -> str:
        """Where callers connect: the first ingress; `call` asks for a line instead."""
        return next(child.url for child in self.children if child.stage == "ingress")

    @property
    def talk(self) -> str:
        """The page to talk on."""
        return next(child.url for child in self.children if child.stage == "gateway")

    def told(self) -> dict[str, str]:
        """Where everything is, for those who start it and those who look for it."""
        where = {"nats": self.nats, "websocket": self.websocket, "talk": self.talk}
        return where | ({"livekit": self.livekit} if self.livekit else {})


@asynccontextmanager
async def platform(options: Options, stop: asyncio.Event) -> AsyncIterator[Platform]:
    """Everything, started in order and ready; stopped in the reverse order, NATS last. Raises Failed or BusError.

    When `stop` is set while it starts, it is yielded as far as it has come.
    """
    from cli.bus_server import kept

    data = options.data.absolute()
    data.mkdir(parents=True, exist_ok=True)
    with _only_one(data):
        if options.livekit and not options.talk_port:
            options = replace(options, talk_port=free_port())  # the server must know it before the gateway is there
        rooms, server = _rooms(options, data)
        async with kept(data, options.nats_port or None) as nats, asyncio.TaskGroup() as keeping:
            children = [*server, *_children(options, data, nats, rooms)]
            tasks = [keeping.create_task(child.keep()) for child in children]
            try:
                await _all_ready(children, stop)
                running = Platform(nats, children, rooms.url if rooms else "")
                if not stop.is_set():
                    await _welcome(nats)
                _write(data / RUN_FILE, json.dumps({"pid": os.getpid(), **running.told(), "data": str(data)}))
                yield running
            finally:
                (data / RUN_FILE).unlink(missing_ok=True)
                for child in children:
                    child.stopping = True
                await asyncio.gather(*(child.stop() for child in children if child.stage == "ingress"))
                await asyncio.gather(*(child.stop() for child in children if child not in server))
                await asyncio.gather(*(child.stop() for child in server))  # when all have left its rooms
                for task in tasks:
                    task.cancel()


def _rooms(options: Options, data: Path) -> tuple["LiveKitSettings | None", list[Child]]:
    """Where the rooms are, and the server that has to be started for it."""
    if not options.livekit:
        return options.rooms, []
    from cli.room_server import RoomServer
    from transports.livekit.settings import LiveKitSettings

    here = "127.0.0.1" if options.host in EVERYWHERE else options.host
    server = RoomServer(data, f"http://{here}:{options.talk_port}/livekit/webhook")
    return LiveKitSettings.model_validate({"url": server.url, **server.keys(data)}), [server]


def _children(options: Options, data: Path, nats: str, rooms: "LiveKitSettings | None") -> list[Child]:
    logs = data / "logs"
    logs.mkdir(exist_ok=True)
    common = ["--nats", nats, "--data", str(data)]
    without_secret = {name: value for name, value in os.environ.items() if not name.startswith("ANTIPHON_LIVEKIT_")}
    with_secret = {**without_secret, **(rooms.to_environment() if rooms else {})}
    children = [Child("config", 0, common, logs, without_secret)]
    for stage, count in options.workers.items():
        for number in range(count):
            own = ["--capacity", str(options.capacity)]
            if stage == "ingress":
                own += ["--host", options.host, "--port", str(options.port)]
                own += ["--agent-name", options.agent_name, "--default-agent", options.default_agent] if rooms else []
            elif stage == "egress":
                own += ["--warm", "livekit"] if rooms else []
            elif options.warm:
                own += ["--warm", options.warm]
            if stage == "stt":
                own += ["--vad", options.vad]
            environment = with_secret if stage == "ingress" else without_secret
            children.append(Child(stage, number, common + own, logs, environment))
    page = ["--host", options.host, "--port", str(options.talk_port)]
    page += ["--livekit-url", rooms.url] if rooms else []
    return [*children, Child("gateway", 0, common + page, logs, without_secret)]


async def _welcome(nats: str) -> None:
    """Somebody to call from the first start on: the example agent, unless there is one of that name already."""
    from bus.connect import connect
    from bus.settings import BusSettings
    from cli.agent import import_new

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
