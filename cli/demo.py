"""Run `antiphon demo`: a whole call on this machine without keys, with a recording, its events and a picture."""

import asyncio
import json as json_
import os
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import nullcontext, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.discovery import EXAMPLES
from cli.errors import Failed

if TYPE_CHECKING:
    from antiphon_testing.recording import Recording
    from antiphon_testing.websocket_caller import Caller
    from bus.session_client import FollowedSession
    from schemas.events import Event

SCRIPT = EXAMPLES / "receptionist-call.json"
THINKS_MS = 700  # the caller's pause after the agent has finished
ANSWER_WITHIN_S = 20.0  # after this time without an answer, the caller asks the next question
FAREWELL_S = 1.0
LOOK_EVERY_S = 0.02


@dataclass(frozen=True)
class Question:
    """One question. interrupts_after_ms: when to ask it, in ms of the agent's answer; None: after the answer."""

    text: str
    pcm: bytes
    interrupts_after_ms: int | None = None


def demo(
    out: Annotated[Path | None, typer.Option(help="Where to leave recording, events and picture.")] = None,
    script: Annotated[Path, typer.Option(help="The agent to call, and the questions.")] = SCRIPT,
    json: Annotated[bool, typer.Option("--json", help="The call's events as they happen, one a line.")] = False,
) -> None:
    """Play a call from the first hello to the last goodbye, with local models and no network.

    A caller asks the receptionist of a small practice what callers ask, and interrupts once. What is left: a stereo
    recording, every event of the call, and a picture of it.
    """
    from antiphon_testing.recording import Recording
    from cli import processes
    from cli.audiofile import write_wav
    from cli.discovery import weights_folder
    from cli.fetch import fetch
    from cli.picture import check_installed, draw
    from schemas import events
    from schemas.audio import AGENT_HZ

    check_installed()
    folder = (out or Path(f"demo-{time.strftime('%Y%m%d-%H%M%S')}")).absolute()
    with redirect_stdout(sys.stderr) if json else nullcontext():  # standard output is for events alone
        fetch()
    folder.mkdir(parents=True, exist_ok=True)
    with Recording() as recording:
        problem, call_events = processes.run(_demo(script, weights_folder(), recording, json=json))
        write_wav(folder / "call.wav", recording.stereo_blocks(), AGENT_HZ, channels=2)
        draw(folder / "call.png", recording, call_events)
    (folder / "events.jsonl").write_text("".join(f"{events.to_json(event)}\n" for event in call_events))
    if problem:
        raise Failed(problem)
    heard = sum(isinstance(event, events.TurnEnded) and bool(event.heard) for event in call_events)
    if not heard:
        raise Failed("the caller heard no turn of the agent: read events.jsonl")
    typer.echo(f"\n{heard} turns. Look and listen in {folder}", err=json)
    for name, what in (
        ("call.wav", "the call: caller left, agent right"),
        ("call.png", "a picture of the call: turns, interruptions, latencies"),
        ("events.jsonl", "every event, as the stages published it"),
    ):
        typer.echo(f"  {name:<13} {what}", err=json)


async def _demo(script: Path, cache: Path, recording: "Recording", *, json: bool) -> "tuple[str, list[Event]]":
    """Return why the call broke, or "", and its events."""
    from rich.console import Console

    from antiphon_testing.websocket_caller import dial
    from bus.connect import connect
    from bus.session_client import SessionClient
    from bus.settings import BusSettings
    from cli.agent import example_agent
    from cli.call import claim, print_json
    from cli.render import CallView
    from composition.platform import PlatformSettings, open_platform

    console = Console(stderr=json, highlight=False)
    view = CallView(console)
    with tempfile.TemporaryDirectory(prefix="antiphon-demo-") as data:
        with console.status("making the caller's voice, starting NATS, config service and five stages"):
            agent, questions = await _read(script, cache)
        settings = PlatformSettings(Path(data), os.environ, agents=[example_agent()])
        async with (
            open_platform(settings, asyncio.Event()) as running,
            connect(BusSettings(url=running.nats), "antiphon demo") as bus,
        ):
            client = SessionClient(bus)
            offer = await claim(client, agent)
            async with client.follow(offer.session, print_json if json else view.show) as followed:
                with nullcontext() if json else view.live():
                    async with dial(offer.url, agent, offer.session, recording) as caller:
                        await converse(caller, followed, questions)
                    await followed.until_closed()
    return caller.problem if json else view.short(caller.problem), followed.events


async def _read(script: Path, cache: Path) -> tuple[str, list[Question]]:
    from cli.audiofile import read_pcm
    from cli.demo_voice import speak

    read = json_.loads(await asyncio.to_thread(script.read_text))
    sounds = await speak([question["text"] for question in read["questions"]], cache / "caller")
    questions = [
        Question(question["text"], read_pcm(sound), question.get("interrupts_after_ms"))
        for question, sound in zip(read["questions"], sounds, strict=True)
    ]
    return str(read["agent"]), questions


async def converse(caller: "Caller", followed: "FollowedSession", questions: list[Question]) -> None:
    """Ask each question: 0.7 s after the agent has been heard out, or in the middle of its answer."""
    for question in questions:
        if question.interrupts_after_ms is None:
            await _until(caller, lambda: not followed.state.busy and not caller.hearing)
            await asyncio.sleep(THINKS_MS / 1000)
        else:
            await _until(caller, lambda: followed.state.speaking > 0)
            await asyncio.sleep(question.interrupts_after_ms / 1000)
        turns = len(followed.state.turns)
        caller.say(question.pcm)
        await _until(caller, lambda turns=turns: len(followed.state.turns) > turns)  # type: ignore[misc]
    await _until(caller, lambda: not followed.state.busy and not caller.hearing)
    await asyncio.sleep(FAREWELL_S)


async def _until(caller: "Caller", met: Callable[[], bool]) -> None:
    deadline = asyncio.get_running_loop().time() + ANSWER_WITHIN_S
    while not met() and not caller.over.is_set() and asyncio.get_running_loop().time() < deadline:
        await asyncio.sleep(LOOK_EVERY_S)
