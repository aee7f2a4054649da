"""Run `antiphon up`: the whole platform on this machine, with a live status table."""

import asyncio
import contextlib
import importlib.util
import json as json_
import os
import signal
from typing import TYPE_CHECKING, Annotated

import typer

from cli.discovery import data_folder, have_rooms, livekit_settings, weights_folder
from cli.errors import WrongUse
from cli.options import AgentName, Data, DefaultAgent, LiveKit
from schemas import subjects

if TYPE_CHECKING:
    from composition.platform import Platform, PlatformSettings

REFRESH_S = 1.0


def up(
    workers: Annotated[str, typer.Option(help="Processes of each stage: N, or stt=2,llm=1,...")] = "1",
    data: Data = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object when all is ready.")] = False,
    capacity: Annotated[int, typer.Option(min=1, help="Sessions at once per worker.")] = 100,
    warm: Annotated[str, typer.Option(help="Providers to open before ready; auto: local, if installed.")] = "auto",
    nats_port: Annotated[int, typer.Option(min=0, max=65535, help="0 is any free port.")] = 0,
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port for callers; 0 is any free port.")] = 0,
    host: Annotated[str, typer.Option(help="The address for callers and browsers.")] = "127.0.0.1",
    talk_port: Annotated[
        int, typer.Option(min=0, max=65535, help="The port of the talk page; 0 is any free port.")
    ] = 0,
    livekit: Annotated[bool, typer.Option("--livekit", help="Start a livekit-server, for rooms.")] = False,
    livekit_url: LiveKit = None,
    agent_name: AgentName = "",
    default_agent: DefaultAgent = "receptionist",
) -> None:
    """Start NATS, the config service and every stage on this machine.

    Ctrl-C or SIGTERM ends the calls within 5 seconds and leaves nothing behind.

    Example: antiphon up --workers stt=2,llm=1
    """
    from cli import processes

    counts = parse_workers(workers)
    if port and counts["ingress"] > 1:
        raise WrongUse("cannot give one --port to several ingress workers: leave it out")
    if livekit and livekit_url:
        raise WrongUse(
            "cannot use --livekit with --livekit-url: the first starts a server, the second uses another. Choose one."
        )
    folder = data_folder(data).absolute()
    rooms = None if livekit else livekit_settings(livekit_url, folder)
    if livekit or rooms:
        have_rooms()
    from cli.agent import example_agent
    from composition.platform import PlatformSettings

    settings = PlatformSettings(
        folder,
        os.environ,
        counts,
        capacity,
        _warm(warm),
        nats_port,
        host,
        port,
        talk_port,
        livekit,
        rooms,
        agent_name,
        default_agent,
        agents=[example_agent()],
    )
    processes.run(_stay(settings, json))


def parse_workers(text: str) -> dict[str, int]:
    """Return stage -> number of processes, from `2` or `stt=2,llm=1`. Raises WrongUse."""
    counts = dict.fromkeys(subjects.STAGES, 1)
    try:
        if text.strip().isdigit():
            counts = dict.fromkeys(subjects.STAGES, int(text))
        else:
            for part in text.split(","):
                stage, _, number = part.strip().partition("=")
                if stage not in counts:
                    raise WrongUse(
                        f"cannot read --workers: {stage!r} is no stage. Choose from {', '.join(subjects.STAGES)}."
                    )
                counts[stage] = int(number)
    except ValueError:
        raise WrongUse(f"cannot read --workers {text!r}: give a number, or stt=2,llm=1") from None
    if min(counts.values()) < 1:
        raise WrongUse("cannot run a stage without a worker: give each at least one in --workers")
    return counts


def _warm(option: str) -> str:
    if option != "auto":
        return "" if option == "none" else option
    from stages.runtime.weights import WEIGHTS

    installed = importlib.util.find_spec("moonshine_voice") and all(
        (weights_folder() / weight.file).exists() for weight in WEIGHTS
    )
    if not installed:
        typer.echo("the local models are not installed: run antiphon fetch", err=True)
    return "local" if installed else ""


async def _stay(settings: "PlatformSettings", json: bool) -> None:
    from composition.platform import open_platform

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with open_platform(settings, stop) as running:
        if stop.is_set():
            return
        if json:
            typer.echo(json_.dumps({"event": "ready", **running.addresses(), "data": str(settings.data)}))
            await stop.wait()
        else:
            await _show(running, settings, stop)


async def _show(running: "Platform", settings: "PlatformSettings", stop: asyncio.Event) -> None:
    from rich.console import Console, Group
    from rich.live import Live
    from rich.text import Text

    from bus.connect import connect
    from bus.settings import BusSettings
    from bus.workers import list_workers
    from cli.ps import tables

    console = Console()
    where = {"page": running.talk, "calls": running.websocket, "rooms": running.livekit, "nats": running.nats}
    console.print("[bold]antiphon is up[/]: open the page and talk to it; Ctrl-C ends it")
    for name, place in {**where, "data": str(settings.data)}.items():
        if place:  # a line each, and none is wrapped: an address can be copied whole
            console.print(Text(f"  {name:<7}{place}", "bold" if name == "page" else ""), soft_wrap=True)
    call = f"antiphon call question.wav --agent receptionist --data {settings.data}"
    say = 'antiphon say "When are you open?" --out question.wav'
    console.print(Text(f"in another terminal:\n  {say}\n  {call}", "dim"), soft_wrap=True)
    if not console.is_terminal:
        await stop.wait()
        return
    async with connect(BusSettings(url=running.nats), "antiphon up") as bus:
        with Live(console=console, auto_refresh=False) as live:
            while not stop.is_set():
                live.update(Group(*tables(await list_workers(bus))), refresh=True)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), REFRESH_S)
