"""`antiphon up`: everything on this machine, with a live status table."""

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
    workers: Annotated[str, typer.Option(help="Processes a stage: N, or stt=2,llm=1,...")] = "1",
    data: Data = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON object a line; `ready` when all is.")] = False,
    capacity: Annotated[int, typer.Option(min=1, help="Sessions at once per worker.")] = 100,
    warm: Annotated[str, typer.Option(help="Providers to load before ready; auto: local, if it is here.")] = "auto",
    nats_port: Annotated[int, typer.Option(min=0, max=65535, help="0 is any free port.")] = 0,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Where callers connect; 0 is any free port.")] = 0,
    host: Annotated[str, typer.Option(help="Where callers connect.")] = "127.0.0.1",
    talk_port: Annotated[int, typer.Option(min=0, max=65535, help="The page to talk on; 0 is any free port.")] = 0,
    livekit: Annotated[bool, typer.Option("--livekit", help="Rooms, too: start a livekit-server.")] = False,
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
        raise WrongUse("--port is one port: with several ingress workers leave it free")
    if livekit and livekit_url:
        raise WrongUse("--livekit starts a server, --livekit-url uses another: choose one of them")
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
    """`2` or `stt=2,llm=1` as stage -> processes; raises WrongUse."""
    counts = dict.fromkeys(subjects.STAGES, 1)
    try:
        if text.strip().isdigit():
            counts = dict.fromkeys(subjects.STAGES, int(text))
        else:
            for part in text.split(","):
                stage, _, number = part.strip().partition("=")
                if stage not in counts:
                    raise WrongUse(f"--workers: no stage {stage!r}: there are {', '.join(subjects.STAGES)}")
                counts[stage] = int(number)
    except ValueError:
        raise WrongUse(f"--workers {text!r} is not a number, nor like stt=2,llm=1") from None
    if min(counts.values()) < 1:
        raise WrongUse("--workers: every stage needs at least one")
    return counts


def _warm(told: str) -> str:
    if told != "auto":
        return "" if told == "none" else told
    from stages.runtime.weights import WEIGHTS

    here = importlib.util.find_spec("moonshine_voice") and all(
        (weights_folder() / weight.file).exists() for weight in WEIGHTS
    )
    if not here:
        typer.echo("the local models are not here: antiphon fetch brings them", err=True)
    return "local" if here else ""


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
