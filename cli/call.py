"""`antiphon call WAV`: a caller who plays a file, listens until the agent has answered, and keeps what was heard."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.errors import Failed, WrongUse
from cli.options import Data, Nats

if TYPE_CHECKING:
    from bus.connect import Bus
    from bus.message import Message
    from bus.settings import BusSettings
    from cli.caller import Caller
    from cli.recording import Recording
    from schemas.control import SessionOffer
    from schemas.events import Event
    from session.state import SessionState

CLAIM_WITHIN_S = 3.0
CLOSED_WITHIN_S = 3.0  # stages flush within 2 s, then session_closed comes
QUIET_S = 2.0  # nothing pending and nothing to hear for so long: the call has come to its end
CAP_S = 30.0  # after the file; an agent that never stops is hung up on
LOOK_EVERY_S = 0.02  # one frame


def call(
    wav: Annotated[Path, typer.Argument(metavar="WAV", help="What the caller says: any WAV or FLAC file.")],
    agent: Annotated[str, typer.Option(help="Whom to call.")] = "default",
    out: Annotated[Path | None, typer.Option(help="Write what the caller heard: a WAV file.")] = None,
    record: Annotated[Path | None, typer.Option(help="Write both sides: caller left, agent right.")] = None,
    picture: Annotated[Path | None, typer.Option(help="Draw the call: a PNG file.")] = None,
    json: Annotated[
        bool, typer.Option("--json", help="The call's call_events as they happen, one JSON object a line.")
    ] = False,
    nats: Nats = None,
    data: Data = None,
) -> None:
    """Call an agent with a recording, at the pace of real time.

    After the file the caller is silent; it hangs up after 2 s in which nothing is pending and nothing is heard.

    Example: antiphon call question.wav --agent receptionist --record call.wav --picture call.png
    """
    from cli import processes
    from cli.audiofile import check_writable, read_pcm
    from cli.discovery import bus_settings
    from cli.picture import check_installed, draw
    from cli.recording import Recording
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
            raise Failed(problem)  # it never came about: nothing to keep
        if out:
            recording.write_heard(out)
        if record:
            recording.write_stereo(record)
        if picture:
            draw(picture, recording, call_events)
    if problem:
        raise Failed(problem)


class Following:
    """A session's events as they arrive, and what they add up to."""

    def __init__(self, show: "Callable[[Event], None]") -> None:
        from session.state import SessionState

        self.state: SessionState = SessionState()
        self.events: list[Event] = []  # of the event plane only
        self.closed = asyncio.Event()
        self._show = show

    def hear(self, message: "Message") -> None:
        """A message of the event or live plane; what is no event is none of ours."""
        from schemas import events
        from session.state import fold

        try:
            event = events.decode(message.data)
        except events.BadEvent:
            return
        if not isinstance(event, events.EPHEMERAL):
            self.events.append(event)
        self.state = fold(self.state, event)
        self._show(event)
        if isinstance(event, events.SessionClosed):
            self.closed.set()


async def claim(bus: "Bus", agent: str) -> "SessionOffer":
    """A line to `agent`: its URL and session. Raises Failed that says why there is none."""

    from bus.errors import NoAnswer, NoResponders
    from schemas import control, subjects

    asked = control.encode(control.ClaimSession(agent))
    try:
        answer = await bus.request(subjects.claim(subjects.INGRESS), asked, CLAIM_WITHIN_S)
    except NoResponders:
        raise Failed("no ingress is running: start `antiphon up`, or `antiphon run ingress`") from None
    except NoAnswer:
        raise Failed(f"no ingress answered within {CLAIM_WITHIN_S:.0f} s: antiphon ps shows who is running") from None
    line = control.decode(answer, control.SessionOffer)
    if line.refused:
        raise Failed(line.detail or f"the call was refused: {line.refused}")
    return line


@asynccontextmanager
async def followed(bus: "Bus", session: str, show: "Callable[[Event], None]") -> "AsyncIterator[Following]":
    """Hear all events and live messages of a session, from before it opens."""
    from schemas import subjects

    following = Following(show)
    planes = (subjects.events(session=session), subjects.ephemerals(session=session))
    subscriptions = [await bus.subscribe(plane, following.hear) for plane in planes]
    await bus.flush()
    try:
        yield following
    finally:
        for subscription in subscriptions:
            await subscription.unsubscribe()


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
    """Why the call broke, or "", and its events."""
    from rich.console import Console

    from bus.connect import connect
    from cli.caller import dial
    from cli.render import CallView

    view = CallView(Console())
    show = print_json if json else view.show
    async with connect(settings, "antiphon call") as bus:
        line = await claim(bus, agent)
        async with followed(bus, line.session, show) as following:
            with nullcontext() if json else view.live():
                async with dial(line.url, agent, line.session, recording) as caller:
                    caller.say(pcm)
                    await until_quiet(caller, lambda: following.state)
                await closed(following)
    return caller.problem, following.events


async def closed(following: Following) -> None:
    """Return when the session has closed, as far as it is heard in time."""
    try:
        async with asyncio.timeout(CLOSED_WITHIN_S):
            await following.closed.wait()
    except TimeoutError:
        pass  # the recording is whole all the same


def print_json(event: "Event") -> None:
    """One line of the event plane, in the envelope of the bus."""
    from schemas import events

    if not isinstance(event, events.EPHEMERAL):
        print(events.to_json(event), flush=True)
