"""`antiphon agent`: the agents of this platform, asked and told through the config service."""

import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from cli.errors import WrongUse
from cli.options import Data, Nats

if TYPE_CHECKING:
    from config_service.client import ConfigClient
    from schemas.agent import AgentDocument

T = TypeVar("T")

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    help="List, show, set and import agents.\n\nExample: antiphon agent show receptionist",
)

Json = Annotated[bool, typer.Option("--json", help="JSON for programs.")]


@app.command("list")
def list_(nats: Nats = None, data: Data = None, json: Json = False) -> None:
    """Every agent, with its revision and providers.

    Example: antiphon agent list --json | jq -r '.agents[].id'
    """
    lines = _ask(nats, data, lambda client: client.list())
    if json:
        import msgspec

        typer.echo(msgspec.json.encode({"agents": lines}).decode())
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("agent", "revision", "hears with", "thinks with", "speaks with", "facts", "", box=None)
    for line in lines:
        revision = str(line.revision or "built in")
        table.add_row(line.id, revision, line.stt, line.llm, line.tts, str(line.facts), f"[red]{line.problem}[/]")
    Console().print(table)


@app.command()
def show(
    agent: Annotated[str, typer.Argument(metavar="ID", help="The agent's id.")],
    nats: Nats = None,
    data: Data = None,
    json: Json = False,
) -> None:
    """One agent as YAML, ready to be edited and set again.

    Example: antiphon agent show receptionist > mine.yaml
    """
    _checked_id(agent)
    stored = _ask(nats, data, lambda client: client.stored(agent))
    if json:
        import msgspec

        typer.echo(msgspec.json.encode(stored).decode())
    else:
        from config_service.source_text import write_yaml

        typer.echo(write_yaml(stored.document), nl=False)


@app.command("set")
def set_(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A YAML or JSON document; - is standard input.")],
    nats: Nats = None,
    data: Data = None,
    json: Json = False,
) -> None:
    """Store an agent; the next call runs on it.

    The file needs an id; whatever else it leaves out has a default.

    Example: echo '{id: desk, greeting: Good morning!, facts: [We open at nine.]}' | antiphon agent set -
    """
    if file == "-":
        from config_service.files import read_bytes

        agents = read_bytes(sys.stdin.buffer.read(), "standard input")
    else:
        agents = load([Path(file)])
    _store(agents, nats, data, json)


@app.command("import")
def import_(
    paths: Annotated[list[Path], typer.Argument(metavar="FOLDER|FILE...", help="Folders or files of YAML or JSON.")],
    nats: Nats = None,
    data: Data = None,
    json: Json = False,
) -> None:
    """Store many agents: all of them, or none if one is wrong.

    Example: antiphon agent import examples/agents/
    """
    _store(load(paths), nats, data, json)


def load(paths: list[Path]) -> "list[AgentDocument]":
    """The agents in files and folders; raises BadDocument that names the file, and the line or the field."""
    from config_service.files import read_files

    return read_files(paths)


async def import_new(bus: Any, paths: list[Path]) -> list[str]:
    """Store those agents of the files that are not there yet, as `up` does at its first start; returns their ids."""
    from config_service.client import ConfigClient

    client = ConfigClient(bus)
    known = {line.id for line in await client.list() if line.revision}
    return list(await client.set([agent for agent in load(paths) if agent.id not in known]))


def _store(agents: "list[AgentDocument]", nats: str | None, data: Path | None, json: bool) -> None:
    revisions = _ask(nats, data, lambda client: client.set(agents))
    if json:
        import msgspec

        typer.echo(msgspec.json.encode({"set": revisions}).decode())
    else:
        for agent, revision in revisions.items():
            typer.echo(f"{agent}: revision {revision}")


def _checked_id(agent: str) -> None:
    from schemas.subjects import BadId, check_id

    try:
        check_id(agent, "agent id")
    except BadId as wrong:
        raise WrongUse(str(wrong)) from None


def _ask(nats: str | None, data: Path | None, question: "Callable[[ConfigClient], Awaitable[T]]") -> T:
    from bus.connect import connect
    from bus.errors import NoResponders
    from cli import processes
    from cli.discovery import bus_settings
    from cli.errors import Failed
    from config_service.client import ConfigClient

    async def ask() -> T:
        async with connect(bus_settings(nats, data), "antiphon agent") as bus:
            try:
                return await question(ConfigClient(bus))
            except NoResponders:
                raise Failed("no config service answers: start `antiphon up` or `antiphon run config`") from None

    return processes.run(ask())
