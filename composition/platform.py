"""A whole platform on this machine: NATS, services and stages as child processes, started and stopped in order."""

import asyncio
import fcntl
import os
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO

from bus.connect import Bus, connect
from bus.settings import BusSettings
from composition.addresses import EVERYWHERE, LOOPBACK, free_port
from composition.bus_server import open_bus_server
from composition.child_process import Child
from composition.errors import StartFailed
from composition.room_server import RoomServer
from composition.run_file import remove_run_file, write_run_file
from config_service.client import ConfigClient
from schemas import subjects
from schemas.agent import AgentDocument
from transports.livekit.settings import VARIABLE_PREFIX, LiveKitSettings

READY_WITHIN_S = 60.0  # the local models load in seconds; a machine under load takes longer


@dataclass(frozen=True)
class PlatformSettings:
    """How a platform runs.

    data: the folder of its files. environment: of its processes. workers: stage -> number of processes.
    capacity: sessions at once per worker. warm: providers to open before ready, comma-separated.
    nats_port, port, talk_port: of NATS, ingress and gateway; 0 is any free port.
    livekit: whether to start a livekit-server. rooms: a LiveKit that runs elsewhere.
    agent_name: serve rooms that ask for this name, "" for all. default_agent: for rooms that name no known agent.
    vad: the engine of voice activity detection, as `antiphon run stt --vad` takes it.
    agents: stored at the start unless an agent of that id is stored already.
    """

    data: Path
    environment: Mapping[str, str]
    workers: Mapping[str, int] = field(default_factory=lambda: dict.fromkeys(subjects.STAGES, 1))
    capacity: int = 100
    warm: str = "local"
    nats_port: int = 0
    host: str = LOOPBACK
    port: int = 0
    talk_port: int = 0
    livekit: bool = False
    rooms: LiveKitSettings | None = None
    agent_name: str = ""
    default_agent: str = "receptionist"
    vad: str = "auto"
    agents: Sequence[AgentDocument] = ()


class Platform:
    """A running platform. nats: its URL. livekit: URL of its rooms, "" without."""

    def __init__(self, nats: str, children: list[Child], livekit: str = "") -> None:
        self.nats = nats
        self.children = children
        self.livekit = livekit

    @property
    def websocket(self) -> str:
        """Where callers connect: the URL of the first ingress."""
        return next(child.url for child in self.children if child.stage == subjects.INGRESS)

    @property
    def talk(self) -> str:
        """The URL of the talk page."""
        return next(child.url for child in self.children if child.stage == "gateway")

    def addresses(self) -> dict[str, str]:
        """Return `{nats, websocket, talk}`, with rooms `livekit`, too."""
        found = {"nats": self.nats, "websocket": self.websocket, "talk": self.talk}
        return found | ({"livekit": self.livekit} if self.livekit else {})


@asynccontextmanager
async def open_platform(settings: PlatformSettings, stop: asyncio.Event) -> AsyncIterator[Platform]:
    """Start all processes in order, yield when they are ready, stop them in reverse order, NATS last.

    When `stop` is set during the start, yields what has started. Raises StartFailed or BusError, alone or in a group.
    """
    data = settings.data.absolute()
    data.mkdir(parents=True, exist_ok=True)
    with _locked(data):
        if settings.livekit and not settings.talk_port:
            settings = replace(settings, talk_port=free_port())  # livekit-server needs the webhook's URL at its start
        rooms, room_servers = _rooms(settings, data)
        async with open_bus_server(data, settings.nats_port or None) as nats, asyncio.TaskGroup() as keeping:
            children = [*room_servers, *_children(settings, data, nats, rooms)]
            tasks = [keeping.create_task(child.keep()) for child in children]
            try:
                await _all_ready(children, stop)
                running = Platform(nats, children, rooms.url if rooms else "")
                if not stop.is_set() and settings.agents:
                    async with connect(BusSettings(url=nats), "antiphon up") as bus:
                        await store_new(bus, settings.agents)
                write_run_file(data, running.addresses())
                yield running
            finally:
                remove_run_file(data)
                for child in children:
                    child.stopping = True
                await asyncio.gather(*(child.stop() for child in children if child.stage == subjects.INGRESS))
                await asyncio.gather(*(child.stop() for child in children if child not in room_servers))
                await asyncio.gather(*(child.stop() for child in room_servers))  # after all have left its rooms
                for task in tasks:
                    task.cancel()


async def store_new(bus: Bus, agents: Sequence[AgentDocument]) -> list[str]:
    """Store those agents that are not stored yet; return their ids."""
    client = ConfigClient(bus)
    known = {line.id for line in await client.list() if line.latest}
    return list(await client.set([agent for agent in agents if agent.id not in known]))


def _rooms(settings: PlatformSettings, data: Path) -> tuple[LiveKitSettings | None, list[Child]]:
    """Return the settings of the rooms, and the server that has to be started for them."""
    if not settings.livekit:
        return settings.rooms, []
    host = LOOPBACK if settings.host in EVERYWHERE else settings.host
    server = RoomServer(data, f"http://{host}:{settings.talk_port}/livekit/webhook")
    return LiveKitSettings.model_validate({"url": server.url, **server.keys(data)}), [server]


def _children(settings: PlatformSettings, data: Path, nats: str, rooms: LiveKitSettings | None) -> list[Child]:
    logs = data / "logs"
    logs.mkdir(exist_ok=True)
    common = ["--nats", nats, "--data", str(data)]
    without_secret = {
        name: value for name, value in settings.environment.items() if not name.startswith(VARIABLE_PREFIX)
    }
    with_secret = {**without_secret, **(rooms.to_environment() if rooms else {})}
    children = [Child("config", 0, common, logs, without_secret)]
    for stage, count in settings.workers.items():
        own = _arguments(settings, stage, with_rooms=rooms is not None)
        environment = with_secret if stage == subjects.INGRESS else without_secret
        children += [Child(stage, number, common + own, logs, environment) for number in range(count)]
    page = ["--host", settings.host, "--port", str(settings.talk_port)]
    page += ["--livekit-url", rooms.url] if rooms else []
    return [*children, Child("gateway", 0, common + page, logs, without_secret)]


def _arguments(settings: PlatformSettings, stage: str, *, with_rooms: bool) -> list[str]:
    own = ["--capacity", str(settings.capacity)]
    if stage == subjects.INGRESS:
        own += ["--host", settings.host, "--port", str(settings.port)]
        if with_rooms:
            own += ["--agent-name", settings.agent_name, "--default-agent", settings.default_agent]
    elif stage == subjects.EGRESS:
        own += ["--warm", "livekit"] if with_rooms else []
    elif settings.warm:
        own += ["--warm", settings.warm]
    if stage == subjects.STT:
        own += ["--vad", settings.vad]
    return own


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
        raise StartFailed(f"cannot start {late}: not ready within {READY_WITHIN_S:.0f} s. Read the logs folder.")


@contextmanager
def _locked(data: Path) -> Iterator[None]:
    """Hold the data folder's lock, so that one platform at a time uses the folder. Raises StartFailed."""
    lock: IO[str] = (data / "lock").open("a+")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.seek(0)
        pid = lock.read().strip() or "another process"
        remedy = "stop it, or choose another folder with --data"
        raise StartFailed(f"antiphon runs in {data} already (pid {pid}): {remedy}") from None
    lock.truncate(0)
    lock.write(str(os.getpid()))
    lock.flush()
    try:
        yield
    finally:
        lock.truncate(0)
        lock.close()
