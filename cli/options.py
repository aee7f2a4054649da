"""Options that many commands have, spelled once."""

from pathlib import Path
from typing import Annotated

import typer

Nats = Annotated[str | None, typer.Option(help="NATS URL [env ANTIPHON_NATS_URL, else DIR/run.json]")]
Data = Annotated[Path | None, typer.Option(help="Data folder [env ANTIPHON_DATA, else ./data]")]
