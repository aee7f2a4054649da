"""Run `antiphon run STAGE...`: one worker process."""

import asyncio
import json as json_
import os
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

import typer

from cli.errors import WrongUse
from cli.options import AgentName, Data, DefaultAgent, LiveKit, Nats
from schemas import subjects

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from bus.connect import Bus
    from composition.ingress import IngressSettings
    from composition.services import GatewaySettings
    from composition.worker import OpenWorker, WorkerSettings
    from stages.runtime.providers import Vad
    from stages.runtime.worker import Worker
    from transports.transport import RoomTransport

BUS_CHECK_EVERY_S = 0.1
REGISTERED_WITHIN_S = 3.0  # a LiveKit that does not answer must not delay callers of other transports
REMEDIES = {"port": "Choose another port with --port.", "public_url": "Set --public-url."}


def run(
    stages: Annotated[
        list[str], typer.Argument(metavar="STAGE...", help="ingress, stt, llm, tts, egress, config, gateway")
    ],
    nats: Nats = None,
    data: Data = None,
    capacity: Annotated[int, typer.Option(min=1, help="Sessions at once; a provider may allow fewer.")] = 100,
    drain_s: Annotated[
        float | None, typer.Option(min=0, help="Seconds that SIGTERM waits: ingress 30 for its calls, others 5.")
    ] = None,
    warm: Annotated[str, typer.Option(help="Providers to open before it is ready: local,openai")] = "",
    last_resort: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="A provider behind all that documents name; none for none.")
    ] = None,
    host: Annotated[str, typer.Option(help="ingress, gateway: the address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="ingress, gateway: 0 is any free port.")] = 0,
    public_url: Annotated[
        str, typer.Option(help="ingress: the address that callers use, if another: wss://voice.org")
    ] = "",
    database: Annotated[str | None, typer.Option(help="config: database URL [env ANTIPHON_DATABASE_URL]")] = None,
    livekit_url: LiveKit = None,
    agent_name: AgentName = "",
    default_agent: DefaultAgent = "receptionist",
    name: Annotated[list[str] | None, typer.Option(help="gateway: a host name by which browsers reach it.")] = None,
    vad: Annotated[str, typer.Option(help="stt: voice activity by auto, silero or script (loudness).")] = "auto",
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line when ready.")] = False,
    parent: Annotated[bool, typer.Option("--parent", hidden=True)] = False,
) -> None:
    """Run a worker for one or more stages.

    SIGTERM drains the worker: it takes no new session. Ingress finishes its calls; another stage hands its sessions
    over to other workers. A second signal ends it at once.

    Example: antiphon run stt --capacity 20 --warm local
    """
    from cli import processes
    from composition.services import SERVICES
    from telemetry import logs

    known = (*subjects.STAGES, *SERVICES)
    for stage in stages:
        if stage not in known:
            raise WrongUse(f"cannot run {stage!r}: there is no such stage. Choose from {', '.join(known)}.")
    logs.configure("debug" if processes.debug() else "info", colours=not os.environ.get("NO_COLOR"))
    os.environ.setdefault("RUST_LOG", "off")  # LiveKit's SDK would write tokens to standard error
    options = Options(
        nats, data, capacity, drain_s, tuple(provider for provider in warm.split(",") if provider),
        host, port, _call_url(public_url), database, livekit_url, agent_name, default_agent, tuple(name or ()),
        _vad(vad), _last_resorts(last_resort),
    )  # fmt: skip
    processes.run(Process(options, json=json).run(stages, parent=parent))


def _call_url(public_url: str) -> str:
    """Return the address that callers use, "" without `--public-url`. Raises WrongUse."""
    if not public_url:
        return ""
    from transports.websocket import PATH

    try:
        parts = urlsplit(public_url)
        good = (
            parts.scheme in ("ws", "wss") and parts.hostname and not (parts.query or parts.fragment or parts.username)
        )
        good = good and (parts.port is None or parts.port > 0)
    except ValueError:  # a port that is no number, or a broken IPv6 address
        good = False
    if not good:
        raise WrongUse("cannot use --public-url: it is not like wss://voice.example.org or ws://10.0.0.5:8080")
    return public_url.rstrip("/") + PATH


def _last_resorts(named: list[str] | None) -> tuple[str, ...] | None:
    """Return the setting of `--last-resort`; None without it."""
    return None if not named else tuple(name for name in named if name != "none")


def _vad(engine: str) -> "Vad":
    """Return the setting of `--vad`. Raises WrongUse."""
    from stages.runtime.providers import VADS

    if engine not in VADS:
        raise WrongUse(f"cannot detect voice activity with {engine!r}: set --vad to {', '.join(VADS)}")
    return engine


@dataclass(frozen=True)
class Options:
    """The options of the command that its settings are made of."""

    nats: str | None
    data: Path | None
    capacity: int
    drain_s: float | None
    warm: tuple[str, ...]
    host: str
    port: int
    call_url: str
    database: str | None
    livekit_url: str | None
    agent_name: str
    default_agent: str
    names: tuple[str, ...]
    vad: "Vad"
    last_resorts: tuple[str, ...] | None  # None for the worker's own

    def worker(self, stage: str) -> "WorkerSettings":
        from cli.discovery import weights_folder
        from composition.worker import WorkerSettings
        from schemas.provider_keys import PrivateHosts, ProviderKeys
        from stages.runtime.providers import ProviderContext

        try:
            keys = ProviderKeys.from_environment(os.environ)
        except ValueError as error:
            raise WrongUse(str(error)) from None
        context = ProviderContext(keys, PrivateHosts.from_environment(os.environ), weights_folder(), self.vad)
        return WorkerSettings(stage, self.capacity, self.drain_s, self.warm, context, self.last_resorts)

    def ingress(self) -> "IngressSettings":
        from antiphon_testing.caller_pattern import simulate
        from composition.ingress import IngressSettings

        return IngressSettings(self.host, self.port, self.call_url, self._rooms(), simulate)

    def gateway(self) -> "GatewaySettings":
        from cli.discovery import livekit_url
        from composition.services import GatewaySettings

        return GatewaySettings(self.host, self.port, self.names, livekit_url(self.livekit_url))

    def _rooms(self) -> "RoomTransport | None":
        from cli.discovery import have_rooms, livekit_settings

        settings = livekit_settings(self.livekit_url, self.data)
        if settings is None:
            return None
        have_rooms()
        from transports.livekit.rooms import LiveKitRooms

        return LiveKitRooms(settings, self.default_agent, self.agent_name)


class Process:
    """One process with its connection to NATS and the stages that it runs."""

    def __init__(self, options: Options, *, json: bool) -> None:
        self._options = options
        self._json = json
        self._stop = asyncio.Event()
        self._workers: list[Worker] = []

    async def run(self, stages: list[str], *, parent: bool) -> None:
        """Run the stages until a signal comes. parent: also stop when the parent process has ended."""
        from bus.connect import connect
        from cli import processes
        from cli.discovery import bus_settings

        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._on_signal)
        settings = bus_settings(self._options.nats, self._options.data)
        async with connect(settings, f"antiphon {'+'.join(stages)}") as bus, asyncio.TaskGroup() as tasks:
            watching = tasks.create_task(self._watch_parent(bus)) if parent else None
            async with asyncio.TaskGroup() as running:
                ready = [asyncio.Event() for _ in stages]
                for stage, event in zip(stages, ready, strict=True):
                    running.create_task(self._run(stage, bus, event))
                for event in ready:
                    await event.wait()
                if set(stages) & set(subjects.STAGES):  # a service has no calls that a collection could disturb
                    processes.settle()
            if watching:
                watching.cancel()

    async def _run(self, stage: str, bus: "Bus", ready: asyncio.Event) -> None:
        from composition.errors import BadAddress
        from composition.services import CONFIG, GATEWAY

        try:
            if stage == CONFIG:
                await self._run_config(bus, ready)
            elif stage == GATEWAY:
                await self._run_gateway(bus, ready)
            else:
                await self._run_worker(stage, bus, ready)
        except BadAddress as error:
            raise WrongUse(f"{error}. {REMEDIES[error.setting]}") from None

    async def _run_worker(self, stage: str, bus: "Bus", ready: asyncio.Event) -> None:
        async with self._open(stage, bus) as opened, asyncio.TaskGroup() as tasks:
            worker = opened.worker
            self._workers.append(worker)
            running = tasks.create_task(opened.run(self._stop))
            await opened.ready(REGISTERED_WITHIN_S)
            self._print_ready(stage, worker.id, worker.url, ready)
            await running

    def _open(self, stage: str, bus: "Bus") -> "AbstractAsyncContextManager[OpenWorker]":
        settings = self._options.worker(stage)
        if stage == subjects.INGRESS:
            from composition.ingress import open_ingress

            return open_ingress(bus, settings, self._options.ingress())
        from composition.worker import open_stage

        return open_stage(bus, settings)

    async def _run_config(self, bus: "Bus", ready: asyncio.Event) -> None:
        from cli.discovery import data_folder, database_url
        from composition.services import open_config

        url = database_url(self._options.database, data_folder(self._options.data))
        async with open_config(bus, url, os.environ):
            self._print_ready("config", "", "", ready)
            await self._stop.wait()

    async def _run_gateway(self, bus: "Bus", ready: asyncio.Event) -> None:
        from composition.services import open_gateway

        async with open_gateway(bus, self._options.gateway()) as url:
            self._print_ready("gateway", "", url, ready)
            await self._stop.wait()

    def _print_ready(self, stage: str, worker: str, url: str, ready: asyncio.Event) -> None:
        ready.set()
        if self._json:
            typer.echo(json_.dumps({"event": "ready", "stage": stage, "worker": worker, "url": url}))

    def _on_signal(self) -> None:
        if self._stop.is_set():
            os._exit(1)  # a second signal ends the process at once
        self._stop.set()

    async def _watch_parent(self, bus: "Bus") -> None:
        from cli import processes

        await processes.parent_gone()
        for worker in self._workers:
            worker.drain_s = 0.0  # the platform ends: no caller will be there to wait for
        self._stop.set()
        while bus.connected:  # a parent that stops in order stops NATS last
            await asyncio.sleep(BUS_CHECK_EVERY_S)
        os._exit(1)  # the parent was killed, and NATS with it: no message could leave any more
