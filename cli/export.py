"""Run `antiphon export`: write the journal into a Parquet file, each event or turn once over all runs."""

import re
from collections.abc import Callable, Iterator
from contextlib import aclosing, contextmanager
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.errors import WrongUse
from cli.options import Data, Nats

if TYPE_CHECKING:
    from bus.connect import Bus
    from bus.journal import Kept
    from bus.settings import BusSettings
    from cli.parquet import Growing
    from cli.rows import Row, Turns

SUFFIXES = ("", ".parquet", ".pq")
UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


class What(StrEnum):
    """The kind of a row; the value of EVENTS is older than the word."""

    EVENTS = "facts"
    TURNS = "turns"

    @property
    def noun(self) -> str:
        """Return the word for messages."""
        return self.name.lower()


def export(
    to: Annotated[Path, typer.Option(metavar="FILE", help="A Parquet file: new, or continued where it ends.")],
    what: Annotated[What, typer.Option(help="A row for each event, or for each turn of an agent.")] = What.EVENTS,
    since: Annotated[
        str | None, typer.Option(help="For a new file: 90s, 15m, 1h, 2d ago or an ISO time; else all there is.")
    ] = None,
    nats: Nats = None,
    data: Data = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON object at the end.")] = False,
) -> None:
    """Write what the journal remembers of all calls into a file.

    It holds what people said. A later run with the same file adds what is new, also after a run that was
    stopped half-way. A turn has its row when its playback has ended, or its call has closed.

    Example: antiphon export --since 1h --to calls.parquet
    """
    check_suffix(to)
    from cli import processes
    from cli.discovery import bus_settings
    from cli.parquet import growing
    from cli.rows import EVENTS, TURNS

    start = since_when(since, datetime.now(UTC)) if since else None
    run = _Run(what, start)
    settings = bus_settings(nats, data)
    try:
        with growing(to, what, EVENTS if what is What.EVENTS else TURNS) as file, _progress(json) as advance:
            processes.run(run.work(settings, file, advance))
    except KeyboardInterrupt:
        typer.echo(f"stopped half-way: {run.added:,} {what.noun} were added to {to}; run it again to go on", err=True)
        raise
    run.report(to, json)


def check_suffix(to: Path) -> None:
    """Raise WrongUse for the name of another kind of file, such as `calls.csv`."""
    if to.suffix.lower() not in SUFFIXES:
        other = to.with_suffix(".parquet")
        raise WrongUse(
            f"cannot write {to}: export writes Parquet. Use --to {other}; docs/analytics.md makes CSV of it."
        )


def since_when(text: str, now: datetime) -> datetime:
    """Return the time that `text` names, a length before `now` or an ISO time (local without a zone).

    Raises WrongUse.
    """
    try:
        if short := re.fullmatch(r"(\d+)([smhd])", text.strip()):
            return now - timedelta(**{UNITS[short[2]]: int(short[1])})
        return datetime.fromisoformat(text.strip()).astimezone(UTC)
    except (ValueError, OverflowError):
        raise WrongUse(
            f"cannot read --since {text!r}: it is no time. Give 90s, 15m, 1h, 2d, or a time such as 2026-01-31T09:00"
        ) from None


class _Run:
    """One run of the command, and its figures for the report."""

    def __init__(self, what: What, since: datetime | None) -> None:
        self._what = what
        self._since = since
        self.added = 0
        self._all = 0
        self._after = 0
        self._strange = 0  # messages that are no events, or events that this version cannot read
        self._gone = 0  # events that the journal dropped before the file had them

    async def work(self, settings: "BusSettings", file: "Growing", advance: "Callable[[int, int], None]") -> None:
        """Read the journal into the file, to the end that it has now. Raises BusError, WrongUse, Failed.

        advance: called after each batch with the number of events read, and of all events.
        """
        from bus import journal
        from bus.connect import connect
        from cli.rows import Turns
        from schemas import subjects

        async with connect(settings, "antiphon export") as bus:
            there = await journal.extent(bus)
            self._after = after = file.continues(there.created)
            self._all = file.old
            self._gone = max(0, there.first - after - 1) if file.mark else 0
            turns = Turns()
            since = None if file.mark else self._since
            reading = journal.batches(bus, subjects.events(), after=after, since=since, until=there.last)
            before = None
            async with aclosing(reading):
                async for batch in reading:
                    rows = (
                        self._event_rows(batch)
                        if self._what is What.EVENTS
                        else await self._turn_rows(bus, turns, batch)
                    )
                    self._after = batch[-1].sequence
                    file.add(rows, self._after)
                    self.added += len(rows)
                    before = batch[0].sequence - 1 if before is None else before
                    advance(self._after - before, there.last - before)
            self._all = file.old + self.added

    def _event_rows(self, batch: "list[Kept]") -> "list[Row]":
        from cli.rows import fact_row

        rows = [row for kept in batch if (row := fact_row(kept.sequence, kept.at, kept.data))]
        self._strange += len(batch) - len(rows)
        return rows

    async def _turn_rows(self, bus: "Bus", turns: "Turns", batch: "list[Kept]") -> "list[Row]":
        """Return the turns that the batch completes, also of calls that began before the first event of this run."""
        from bus import journal
        from cli.rows import known_event
        from schemas import subjects

        rows = []
        for kept in batch:
            event = known_event(kept.data)
            if event is None:
                self._strange += 1
                continue
            if not turns.knows(event):
                call = subjects.events(session=event.session)
                async for earlier in journal.batches(bus, call, until=kept.sequence - 1):
                    for known in filter(None, (known_event(before.data) for before in earlier)):
                        turns.hear(0, known)
            rows += turns.hear(kept.sequence, event)
        return rows

    def report(self, to: Path, json: bool) -> None:
        """Print how many rows were added, and how many events could not be."""
        if json:
            import msgspec

            figures: dict[str, Any] = {
                "to": str(to),
                "what": str(self._what),
                "added": self.added,
                "rows": self._all,
                "after": self._after,
                "strange": self._strange,
                "gone": self._gone,
            }
            typer.echo(msgspec.json.encode(figures).decode())
            return
        if self.added:
            typer.echo(f"{to}: {self.added:,} {self._what.noun} added, {self._all:,} in all; it holds what people said")
        else:
            typer.echo(f"nothing to export: {self._why_nothing(to)}")
        if self._gone:
            typer.echo(f"{self._gone:,} events were dropped from the journal before they were exported", err=True)
        if self._strange:
            typer.echo(f"{self._strange:,} messages were left out: of another version, or no events", err=True)

    def _why_nothing(self, to: Path) -> str:
        if self._all:
            return f"{to} holds all {self._what.noun} that the journal has"
        since = f" since {self._since.astimezone():%Y-%m-%d %H:%M:%S}" if self._since else " yet"
        return f"the journal has no {self._what.noun}{since}; {to} was not written"


@contextmanager
def _progress(silent: bool) -> "Iterator[Callable[[int, int], None]]":
    """Show a bar on a terminal, and nothing elsewhere; yields the function that moves it: (events read, all events)."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("reading the journal"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=silent or not console.is_terminal, transient=True) as bar:
        task = bar.add_task("", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
