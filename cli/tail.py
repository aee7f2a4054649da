"""`antiphon tail`: calls as they happen, straight from the bus."""

import asyncio
from collections.abc import Callable
from typing import Annotated, Any

import typer

from cli.options import Data, Nats

WAITING = 10_000  # events; a terminal slower than this loses the oldest and is told how many


def tail(
    session: Annotated[str | None, typer.Option(help="Only this session.")] = None,
    agent: Annotated[str | None, typer.Option(help="Only calls of this agent.")] = None,
    nats: Nats = None,
    data: Data = None,
    json: Annotated[bool, typer.Option("--json", help="One event a line, in the envelope of the bus.")] = False,
) -> None:
    """Follow calls live: who speaks, what is understood, what is answered.

    Ctrl-C ends it.

    Example: antiphon tail --agent receptionist
    """
    from cli import processes
    from cli.discovery import bus_settings

    processes.run(_follow(bus_settings(nats, data), agent, session, _as_json() if json else _as_text()))


async def _follow(settings: Any, agent: str | None, session: str | None, show: Callable[[Any], None]) -> None:
    from bus.connect import connect
    from bus.message import Message
    from schemas import events, subjects

    call_events: asyncio.Queue[Any] = asyncio.Queue(WAITING)
    lost = 0

    def heard(message: Message) -> None:
        nonlocal lost
        try:
            event = events.decode(message.data)
        except events.BadEvent:
            return
        if call_events.full():
            call_events.get_nowait()
            lost += 1
        call_events.put_nowait(event)

    async with connect(settings, "antiphon tail") as bus:
        await bus.subscribe(subjects.events(agent, session), heard)
        await bus.subscribe(subjects.ephemerals(agent, session), heard)
        while True:
            show(await call_events.get())
            if lost:
                typer.echo(f"({lost} events were dropped here: this terminal is too slow)", err=True)
                lost = 0


def _as_json() -> Callable[[Any], None]:
    from schemas import events

    return lambda event: typer.echo(events.to_json(event))


def _as_text() -> Callable[[Any], None]:
    from datetime import datetime

    from rich.console import Console
    from rich.markup import escape

    from schemas import events

    console = Console(highlight=False)
    colours = {"ingress": "blue", "stt": "cyan", "llm": "green", "tts": "magenta", "egress": "yellow"}

    def show(event: Any) -> None:
        at = datetime.fromtimestamp(event.time / 1_000_000).strftime("%H:%M:%S.%f")[:-3]
        stage = events.stage(event)
        console.print(
            f"[dim]{at} {event.session[:8]} {event.agent}[/] [{colours.get(stage, 'white')}]{events.tag(event):<24}[/]"
            f" {escape(told(event))}",
            soft_wrap=True,
        )

    return show


def told(event: Any) -> str:
    """An event's own fields on one line; documents and envelopes are left out."""
    hidden = {"session", "agent", "epoch", "seq", "time", "config", "cause", "now_ms", "words", "owners"}
    parts = []
    for field in event.__struct_fields__:
        value = getattr(event, field)
        if field in hidden or (value in (0, "", None, ()) and field != "utterance"):
            continue
        parts.append(f'"{value}"' if field in ("text", "heard") else f"{field} {value}")
    return "  ".join(parts)
