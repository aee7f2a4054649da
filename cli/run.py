"""`antiphon run STAGE...`: one worker process."""

import asyncio
import importlib
import os
import signal
from contextlib import AsyncExitStack, suppress
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlsplit

import typer

from cli.discovery import EVERYWHERE
from cli.errors import WrongUse
from cli.options import AgentName, Data, DefaultAgent, LiveKit, Nats

if TYPE_CHECKING:
    from stages.runtime.providers import Vad

STAGES = ("ingress", "stt", "llm", "tts", "egress")
SERVICES = ("config", "gateway")
LOOK_EVERY_S = 0.1
REGISTERED_WITHIN_S = 3.0  # a LiveKit that does not answer keeps nobody from calling by other ways


def run(
    stages: Annotated[
        list[str], typer.Argument(metavar="STAGE...", help="ingress, stt, llm, tts, egress, config, gateway")
    ],
    nats: Nats = None,
    data: Data = None,
    capacity: Annotated[int, typer.Option(min=1, help="Sessions at once; a provider may declare less.")] = 100,
    drain_s: Annotated[float, typer.Option(min=0, help="How long SIGTERM waits for own sessions.")] = 30.0,
    warm: Annotated[str, typer.Option(help="Providers to load before it is ready: local,openai")] = "",
    host: Annotated[str, typer.Option(help="ingress, gateway: where callers connect.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="ingress, gateway: 0 is any free port.")] = 0,
    public_url: Annotated[str, typer.Option(help="ingress: how callers reach it, if not so: wss://voice.org")] = "",
    database: Annotated[str | None, typer.Option(help="config: database URL [env ANTIPHON_DATABASE_URL]")] = None,
    livekit_url: LiveKit = None,
    agent_name: AgentName = "",
    default_agent: DefaultAgent = "receptionist",
    name: Annotated[list[str] | None, typer.Option(help="gateway: a host name that it is reached by.")] = None,
    vad: Annotated[str, typer.Option(help="stt: voice activity by auto, silero or script (loudness).")] = "auto",
    json: Annotated[bool, typer.Option("--json", help="One JSON object a line when ready.")] = False,
    parent: Annotated[bool, typer.Option("--parent", hidden=True)] = False,
) -> None:
    """Run a worker for one or more stages.

    SIGTERM drains it: it takes no new session and finishes its own. A second signal ends it at once.

    Example: antiphon run stt --capacity 20 --warm local
    """
    for stage in stages:
        if stage not in STAGES + SERVICES:
            raise WrongUse(f"no stage {stage!r}: there are {', '.join(STAGES + SERVICES)}")
    from cli import processes
    from telemetry import logs

    logs.configure("debug" if processes.debug() else "info", colours=not os.environ.get("NO_COLOR"))
    os.environ.setdefault("RUST_LOG", "off")  # what LiveKit's SDK does not log here goes to stderr, tokens and all
    processes.run(
        _Process(
            nats=nats, data=data, capacity=capacity, drain_s=drain_s, warm=[name for name in warm.split(",") if name],
            host=host, port=port, public_url=_public(public_url), database=database, json=json, parent=parent,
            livekit_url=livekit_url, agent_name=agent_name, default_agent=default_agent, names=name or [],
            vad=_vad(vad),
        ).run(stages)
    )  # fmt: skip


def _public(url: str) -> str:
    """Where callers call, by `--public-url`. Raises WrongUse."""
    if not url:
        return ""
    from transports.websocket import PATH

    try:
        parts = urlsplit(url)
        good = (
            parts.scheme in ("ws", "wss") and parts.hostname and not (parts.query or parts.fragment or parts.username)
        )
        good = good and (parts.port is None or parts.port > 0)
    except ValueError:  # of the port, or of an IPv6 address
        good = False
    if not good:
        raise WrongUse("--public-url is not like wss://voice.example.org or ws://10.0.0.5:8080")
    return url.rstrip("/") + PATH


def _vad(engine: str) -> "Vad":
    """Return the setting of `--vad`. Raises WrongUse."""
    from stages.runtime.providers import VADS

    if engine not in VADS:
        raise WrongUse(f"cannot detect voice activity with {engine!r}: set --vad to {', '.join(VADS)}")
    return engine


class _Process:
    """What all stages of this process share."""

    def __init__(self, **options: Any) -> None:
        self._options = options
        self._stop = asyncio.Event()
        self._workers: list[Any] = []
        self._rooms: Any = None

    async def run(self, stages: list[str]) -> None:
        from bus.connect import connect
        from cli import processes
        from cli.discovery import bus_settings

        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._on_signal)
        settings = bus_settings(self._options["nats"], self._options["data"])
        async with connect(settings, f"antiphon {'+'.join(stages)}") as bus, asyncio.TaskGroup() as tasks:
            watching = tasks.create_task(self._watch_parent(bus)) if self._options["parent"] else None
            async with asyncio.TaskGroup() as works:
                ready = [asyncio.Event() for _ in stages]
                for stage, event in zip(stages, ready, strict=True):
                    works.create_task(self._work(stage, bus, event))
                for event in ready:
                    await event.wait()
                if any(stage in STAGES for stage in stages):  # a service has no calls that a collection could disturb
                    processes.settle()
            if watching:
                watching.cancel()

    async def _work(self, stage: str, bus: Any, ready: asyncio.Event) -> None:
        if stage in SERVICES:
            await (self._serve_config if stage == "config" else self._serve_gateway)(bus, ready)
            return
        from stages.runtime.worker import Worker

        worker = Worker(bus, stage, self._options["capacity"], self._options["drain_s"])
        self._workers.append(worker)
        async with AsyncExitStack() as stack, asyncio.TaskGroup() as tasks:
            work = await (self._ingress if stage == "ingress" else self._claimed)(worker, stack)
            running = tasks.create_task(worker.run(work, self._stop))
            tasks.create_task(self._when_ready(worker, ready))
            await running

    async def _when_ready(self, worker: Any, ready: asyncio.Event) -> None:
        await worker.ready.wait()
        if worker.stage == "ingress" and self._rooms:  # a room that is made before we are known gets nobody
            with suppress(TimeoutError):
                await asyncio.wait_for(self._rooms.registered.wait(), REGISTERED_WITHIN_S)
        self._say_ready(worker.stage, worker.id, worker.url, ready)

    async def _ingress(self, worker: Any, stack: AsyncExitStack) -> Any:
        from antiphon_testing.caller_pattern import simulate
        from bus import journal
        from config_service.client import ConfigClient
        from stages.ingress.stage import Ingress
        from transports import websocket

        await journal.ensure(worker.bus)
        self._rooms = self._open_rooms()
        ingress = Ingress(worker, ConfigClient(worker.bus), self._rooms, simulate)
        host, port, public = (self._options[name] for name in ("host", "port", "public_url"))
        reached_at = worker.bus.address if host in EVERYWHERE else host
        if not (reached_at or public):
            raise WrongUse(f"--host {host} is no address to call: say with --public-url how callers reach it")
        try:
            told = await stack.enter_async_context(websocket.serve(ingress.answer, host, port, reached_at))
            worker.url = public or told
        except OSError as error:
            raise WrongUse(f"cannot listen on {host}:{port} ({error.strerror}): choose another with --port") from None
        return ingress

    def _open_rooms(self) -> Any:
        from cli.discovery import have_rooms, livekit_settings

        settings = livekit_settings(self._options["livekit_url"], self._options["data"])
        if settings is None:
            return None
        have_rooms()
        from transports.livekit.rooms import LiveKitRooms

        return LiveKitRooms(settings, self._options["default_agent"], self._options["agent_name"])

    async def _claimed(self, worker: Any, stack: AsyncExitStack) -> Any:
        from cli.discovery import weights_folder
        from schemas.provider_keys import PrivateHosts, ProviderKeys
        from stages.runtime.providers import Provider, ProviderContext, Providers
        from stages.runtime.stage_host import StageHost
        from transports.outputs import preload

        module = importlib.import_module(f"stages.{worker.stage}.stage")
        try:
            keys = ProviderKeys.from_environment(os.environ)
        except ValueError as error:
            raise WrongUse(str(error)) from None
        context = ProviderContext(
            keys, PrivateHosts.from_environment(os.environ), weights_folder(), self._options["vad"]
        )
        providers = await stack.enter_async_context(Providers[Provider](worker.stage, context))
        for name in self._options["warm"]:
            await (preload(name) if worker.stage == "egress" else providers.get(name))
        shared = await stack.enter_async_context(module.open_worker(providers))
        return StageHost(worker, module, providers, shared)

    async def _serve_config(self, bus: Any, ready: asyncio.Event) -> None:
        from cli.discovery import data_folder, database_url
        from config_service.service import open_service

        folder = data_folder(self._options["data"])
        async with open_service(bus, database_url(self._options["database"], folder)):
            self._say_ready("config", "", "", ready)
            await self._stop.wait()

    async def _serve_gateway(self, bus: Any, ready: asyncio.Event) -> None:
        from cli.discovery import livekit_url
        from gateway.serve import serve

        host, port = self._options["host"], self._options["port"]
        try:
            async with serve(bus, host, port, self._options["names"], livekit_url(self._options["livekit_url"])) as url:
                self._say_ready("gateway", "", url, ready)
                await self._stop.wait()
        except OSError as error:
            raise WrongUse(f"cannot listen on {host}:{port} ({error.strerror}): choose another with --port") from None

    def _say_ready(self, stage: str, worker: str, url: str, ready: asyncio.Event) -> None:
        ready.set()
        if self._options["json"]:
            import json

            typer.echo(json.dumps({"event": "ready", "stage": stage, "worker": worker, "url": url}))

    def _on_signal(self) -> None:
        if self._stop.is_set():
            os._exit(1)  # the second signal: whoever asks twice means now
        self._stop.set()

    async def _watch_parent(self, bus: Any) -> None:
        from cli import processes

        await processes.parent_gone()
        for worker in self._workers:
            worker.drain_s = 0.0  # nobody is left to wait for
        self._stop.set()
        while bus.connected:  # it stops NATS last
            await asyncio.sleep(LOOK_EVERY_S)
        os._exit(1)  # it was killed, and NATS went with it: there is nobody left to take leave of
