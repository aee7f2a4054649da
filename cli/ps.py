"""Run `antiphon ps`: ask every worker on the bus for its status."""

from collections import Counter
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.options import Data, Nats

if TYPE_CHECKING:
    from rich.table import Table

    from bus.settings import BusSettings
    from schemas.control import WorkerStatus


def ps(
    nats: Nats = None,
    data: Data = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """List the workers that run, and the sessions that they own.

    Example: antiphon ps --json | jq '.sessions[].owners'
    """
    from cli import processes
    from cli.discovery import bus_settings

    workers = processes.run(_ask(bus_settings(nats, data)))
    if json:
        import msgspec

        typer.echo(msgspec.json.encode(report(workers)).decode())
    else:
        from rich.console import Console

        console = Console()
        for table in tables(workers):
            console.print(table)


async def _ask(settings: "BusSettings") -> "list[WorkerStatus]":
    from bus.connect import connect
    from bus.workers import list_workers

    async with connect(settings, "antiphon ps") as bus:
        return await list_workers(bus)


def report(workers: "list[WorkerStatus]") -> dict[str, Any]:
    """Return the contract of `ps --json`. A session comes from its coordinator, which knows every owner."""
    return {
        "workers": [
            {
                "id": worker.id,
                "stage": worker.stage,
                "pid": worker.pid,
                "host": worker.host,
                "sessions": len(worker.sessions),
                "capacity": worker.capacity,
                "state": worker.state,
            }
            for worker in workers
        ],
        "sessions": [
            {
                "session": held.session,
                "agent": held.agent,
                "epoch": held.epoch,
                "owners": {"ingress": worker.id, **held.owners},
                "age_s": held.age_s,
            }
            for worker in workers
            if worker.stage == "ingress"
            for held in worker.sessions
        ],
    }


def tables(workers: "list[WorkerStatus]") -> "list[Table]":
    """Return the same as tables for a terminal; no column is empty."""
    from rich.table import Table

    columns = ["stage", "worker", "pid", "host", "sessions", "state"]
    counting = any(worker.counters for worker in workers)
    running = Table(*columns, *(["dropped or refused"] if counting else []), box=None, header_style="bold")
    for worker in workers:
        counted = ", ".join(f"{reason} {times}" for reason, times in sorted(Counter(worker.counters).items()))
        load = f"{len(worker.sessions)} of {worker.capacity}"
        style = {"ready": "green", "full": "yellow", "draining": "magenta"}[worker.state]
        state = f"[{style}]{worker.state}[/]"
        cells = (worker.stage, worker.id[:8], str(worker.pid), worker.host, load, state)
        running.add_row(*cells, *([counted] if counting else []))
    calls = Table("session", "agent", "epoch", "age", "owned by", box=None, header_style="bold")
    for session in report(workers)["sessions"]:
        owners = " ".join(f"{stage}:{owner[:8]}" for stage, owner in session["owners"].items())
        calls.add_row(
            session["session"][:8], session["agent"], str(session["epoch"]), f"{session['age_s']:.0f} s", owners
        )
    return [running, calls] if calls.row_count else [running]
