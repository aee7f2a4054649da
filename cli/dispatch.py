"""Run `antiphon dispatch ROOM`: send an agent into a room of LiveKit."""

import json as json_
from pathlib import Path
from typing import Annotated

import typer

from cli.errors import Failed
from cli.options import Data, LiveKit


def dispatch(
    room: Annotated[str, typer.Argument(help="The room; LiveKit creates it if it does not exist.")],
    agent: Annotated[str, typer.Option(help="The agent that answers there.")],
    agent_name: Annotated[str, typer.Option(help="The --agent-name with which ingress was started.")] = "",
    campaign: Annotated[str, typer.Option(help="campaign_id of the call.")] = "",
    lead: Annotated[str, typer.Option(help="lead_id of the call.")] = "",
    phone: Annotated[str, typer.Option(help="phone_number of the call.")] = "",
    livekit_url: LiveKit = None,
    data: Data = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Send an agent into a room of LiveKit.

    Rooms get an agent by themselves unless the workers were started with a name.

    Example: antiphon dispatch lobby --agent receptionist --agent-name front-desk
    """
    from cli import processes

    told = {"agent_id": agent, "campaign_id": campaign, "lead_id": lead, "phone_number": phone}
    metadata = json_.dumps({name: value for name, value in told.items() if value})
    job = processes.run(_dispatch(room, agent_name, metadata, livekit_url, data))
    if json:
        typer.echo(json_.dumps({"dispatch": job, "room": room, "agent": agent, "agent_name": agent_name}))
    else:
        typer.echo(f"sent {agent} into {room} (dispatch {job})")


async def _dispatch(room: str, agent_name: str, metadata: str, url: str | None, data: Path | None) -> str:
    from cli.discovery import data_folder, have_rooms, livekit_settings

    settings = livekit_settings(url, data)
    if settings is None:
        folder = data_folder(data)
        raise Failed(
            f"cannot find LiveKit: none runs in {folder}. Start `antiphon up --livekit`, or set --livekit-url URL."
        )
    have_rooms()
    from transports.livekit.room_service import RoomService

    return await RoomService(settings).dispatch(room, agent_name, metadata)
