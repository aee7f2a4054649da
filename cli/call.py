"""Run `antiphon call WAV`: a caller plays a file, listens until the agent has answered, and keeps the recording."""

import asyncio
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.errors import Failed, WrongUse
from cli.options import Data, Nats

if TYPE_CHECKING:
    from antiphon_testing.recording import Recording
    from antiphon_testing.websocket_caller import Caller
    from bus.session_client import SessionClient
    from bus.settings import BusSettings
    from schemas.control import SessionOffer
    from schemas.events import Event
    from session.state import SessionState

QUIET_S = 2.0  # the call has ended when nothing was pending or heard for so long
CAP_S = 30.0  # after the file: the caller hangs up on an agent that never stops
LOOK_EVERY_S = 0.02  # one frame


def call(
    wav: Annotated[Path, typer.Argument(metavar="WAV", help="What the caller says: any WAV or FLAC file.")],
    agent: Annotated[str, typer.Option(help="The agent to call.")] = "default",
    out: Annotated[Path | None, typer.Option(help="Write what the caller heard: a WAV file.")] = None,
    record: Annotated[Path | None, typer.Option(help="Write both sides: caller left, agent right.")] = None,
    picture: Annotated[Path | None, typer.Option(help="Draw the call: a PNG file.")] = None,
    json: Annotated[
        bool, typer.Option("--json", help="The call's events as they happen, one JSON object a line.")
    ] = False,
    nats: Nats = None,
    data: Data = None,
) -> None:
    """Call an agent with a recording, at the pace of real time.

    After the file the caller is silent; it hangs up after 2 s in which nothing is pending and nothing is heard.

    Example: antiphon call question.wav --agent receptionist --record call.wav --picture call.png
    """
    from antiphon_testing.recording import Recording
    from cli import processes
    from cli.audiofile import check_writable, read_pcm, write_wav
    from cli.discovery import bus_settings
    from cli.picture import check_installed, draw
    from schemas.audio import AGENT_HZ
    from schemas.events import SessionOpened
    from schemas.subjects import BadId, check_id

    try:
        check_id(agent, "agent id")
    except BadId as bad:
        raise WrongUse(str(bad)) from None
    for path in (out, record, picture):
        if path:
            check_writable(path)
    if picture:
        check_installed()
    pcm = read_pcm(wav)
    with Recording() as recording:
        problem, call_events = processes.run(_call(bus_settings(nats, data), agent, pcm, recording, json=json))
        if problem and not any(isinstance(event, SessionOpened) for event in call_events):
            raise Failed(problem)  # the session never opened: there is nothing to keep
        if out:
            write_wav(out, recording.heard_blocks(), AGENT_HZ)
        if record:
            write_wav(record, recording.stereo_blocks(), AGENT_HZ, channels=2)
        if picture:
            draw(picture, recording, call_events)
    if problem:
        raise Failed(problem)


async def claim(client: "SessionClient", agent: str) -> "SessionOffer":
    """Return ingress's offer of a session with `agent`. Raises Failed with the cause and the remedy."""
    from bus.session_client import SessionRefused

    try:
        return await client.claim(agent)
    except SessionRefused as refused:
        raise Failed(str(refused)) from None


async def until_quiet(caller: "Caller", state: "Callable[[], SessionState]") -> None:
    """Return when the caller has said all and nothing was pending or heard for QUIET_S, after CAP_S, or at the end."""
    loop = asyncio.get_running_loop()
    said = quiet = loop.time()
    while not caller.over.is_set() and loop.time() < min(said + CAP_S, quiet + QUIET_S):
        if caller.saying:
            said = quiet = loop.time()
        elif caller.hearing or state().busy:
            quiet = loop.time()
        await asyncio.sleep(LOOK_EVERY_S)


async def _call(
    settings: "BusSettings", agent: str, pcm: bytes, recording: "Recording", *, json: bool
) -> "tuple[str, list[Event]]":
    """Return why the call broke, or "", and its events."""
    from rich.console import Console

    from antiphon_testing.websocket_caller import dial
    from bus.connect import connect
    from bus.session_client import SessionClient
    from cli.render import CallView

    view = CallView(Console())
    show = print_json if json else view.show
    async with connect(settings, "antiphon call") as bus:
        client = SessionClient(bus)
        offer = await claim(client, agent)
        async with client.follow(offer.session, show) as followed:
            with nullcontext() if json else view.live():
                async with dial(offer.url, agent, offer.session, recording) as caller:
                    caller.say(pcm)
                    await until_quiet(caller, lambda: followed.state)
                await followed.until_closed()  # the recording is whole without it, too
    return caller.problem if json else view.short(caller.problem), followed.events


def print_json(event: "Event") -> None:
    """Print one event as JSON in the envelope of the bus; leave out ephemerals."""
    from schemas import events

    if not isinstance(event, events.EPHEMERAL):
        print(events.to_json(event), flush=True)
