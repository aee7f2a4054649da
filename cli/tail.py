"""Run `antiphon tail`: print the events of calls as they come over the bus."""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from cli.options import Data, Nats

if TYPE_CHECKING:
    from bus.settings import BusSettings
    from schemas.events import Event

WAITING = 10_000  # events; a slower terminal loses the oldest, and a line says how many
ID_CHARACTERS = 8  # of a session or worker: enough to tell them apart
HIDDEN = "session agent epoch seq time config cause now_ms words owners started_us version".split()
SPOKEN = ("text", "heard")
UNITS = {"sample": 16_000, "ms": 1_000, "us": 1_000_000}  # the end of a field's name -> units in a second


def tail(
    session: Annotated[str | None, typer.Option(help="Only this session.")] = None,
    agent: Annotated[str | None, typer.Option(help="Only calls of this agent.")] = None,
    finals: Annotated[bool, typer.Option("--finals", help="Leave out transcripts that may still change.")] = False,
    nats: Nats = None,
    data: Data = None,
    json: Annotated[bool, typer.Option("--json", help="One event a line, in the envelope of the bus.")] = False,
) -> None:
    """Follow calls live: who speaks, what is understood, what is answered.

    Times are seconds: positions since the session opened, or durations. Ctrl-C ends it.

    Example: antiphon tail --agent receptionist
    """
    from cli import processes
    from cli.discovery import bus_settings
    from schemas import subjects

    subjects.events(agent, session)  # raises BadId before the command connects
    followed = Followed(agent, session, ephemerals=not finals)
    processes.run(_follow(bus_settings(nats, data), followed, _as_json() if json else _as_text()))


class Followed(NamedTuple):
    """Which events to print. agent, session: None for all."""

    agent: str | None
    session: str | None
    ephemerals: bool


async def _follow(settings: "BusSettings", followed: Followed, show: "Callable[[Event], None]") -> None:
    from bus.connect import connect
    from bus.session_client import SessionClient

    waiting: asyncio.Queue[Event] = asyncio.Queue(WAITING)
    dropped = 0

    def receive(event: "Event") -> None:
        nonlocal dropped
        if waiting.full():
            waiting.get_nowait()
            dropped += 1
        waiting.put_nowait(event)

    async with (
        connect(settings, "antiphon tail") as bus,
        SessionClient(bus).subscribed(receive, **followed._asdict()),
    ):
        while True:
            show(await waiting.get())
            if dropped:
                typer.echo(f"({dropped} events were dropped here: this terminal is too slow)", err=True)
                dropped = 0


def _as_json() -> "Callable[[Event], None]":
    from schemas import events

    return lambda event: typer.echo(events.to_json(event))


def _as_text() -> "Callable[[Event], None]":
    from datetime import datetime

    from rich.console import Console
    from rich.markup import escape

    from schemas import events

    console = Console(highlight=False)
    colours = {"ingress": "blue", "stt": "cyan", "llm": "green", "tts": "magenta", "egress": "yellow"}

    def show(event: "Event") -> None:
        at = datetime.fromtimestamp(event.time / 1_000_000).strftime("%H:%M:%S.%f")[:-3]
        call = f"[dim]{at} {event.session[:ID_CHARACTERS]} {event.agent}[/]"
        tag = f"[{colours.get(events.stage(event), 'white')}]{events.tag(event):<24}[/]"
        console.print(f"{call} {tag} {escape(fields(event))}", soft_wrap=True)

    return show


def fields(event: "Event") -> str:
    """Return an event's own fields on one line, without the envelope, documents, and fields that are empty."""
    shown = ((name, getattr(event, name)) for name in event.__struct_fields__ if name not in HIDDEN)
    return "  ".join(
        _field(name, value) for name, value in shown if name == "utterance" or value not in (0, "", None, (), {})
    )


def _field(name: str, value: object) -> str:
    plain, _, unit = name.rpartition("_")
    if unit in UNITS and isinstance(value, int):
        return f"{plain} {value / UNITS[unit]:.2f} s"
    if name in SPOKEN:
        return f'"{value}"'
    if value is True:
        return name
    return f"{name} {str(value)[:ID_CHARACTERS] if name == 'coordinator' else value}"
