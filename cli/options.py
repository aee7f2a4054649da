"""Options that several commands have."""

from pathlib import Path
from typing import Annotated

import typer

Nats = Annotated[str | None, typer.Option(help="NATS URL [env ANTIPHON_NATS_URL, else DIR/run.json]")]
Data = Annotated[Path | None, typer.Option(help="Data folder [env ANTIPHON_DATA, else ./data]")]
LiveKit = Annotated[str | None, typer.Option("--livekit-url", help="Rooms: LiveKit's URL [env ANTIPHON_LIVEKIT_URL]")]
AgentName = Annotated[str, typer.Option(help="Rooms: serve those that ask for this name; empty serves all.")]
DefaultAgent = Annotated[str, typer.Option(help="Rooms: the agent for rooms whose metadata names none.")]
