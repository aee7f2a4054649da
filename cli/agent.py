"""Run `antiphon agent`: list, show, set, edit and import agents through the config service."""

import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from cli.discovery import EXAMPLES
from cli.errors import Failed, WrongUse
from cli.options import Data, Nats

if TYPE_CHECKING:
    from config_service.client import ConfigClient
    from schemas.agent import AgentDocument
    from schemas.config import StoredAgent

T = TypeVar("T")

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    help="List, show, set, edit and import agents.\n\nExample: antiphon agent show receptionist",
)

Json = Annotated[bool, typer.Option("--json", help="JSON for programs.")]
Id = Annotated[str, typer.Argument(metavar="ID", help="The agent's id.")]


@app.command("list")
def list_(nats: Nats = None, data: Data = None, json: Json = False) -> None:
    """List every agent, with its revision and providers.

    Example: antiphon agent list --json | jq -r '.agents[].id'
    """
    lines = _ask(nats, data, lambda client: client.list())
    if json:
        import msgspec

        typer.echo(msgspec.json.encode({"agents": lines}).decode())
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table("agent", "name", "revision", "stt", "llm", "tts", "facts", "", box=None)
    for line in lines:
        revision = str(line.revision or "built in")
        problem = f"[red]{escape(line.problem)}[/]"
        table.add_row(line.id, escape(line.name), revision, line.stt, line.llm, line.tts, str(line.facts), problem)
    Console().print(table)


@app.command()
def show(agent: Id, nats: Nats = None, data: Data = None, json: Json = False) -> None:
    """Print one agent as YAML, which can be edited and set again.

    Example: antiphon agent show receptionist > mine.yaml
    """
    stored = _stored(agent, nats, data)
    if json:
        import msgspec

        typer.echo(msgspec.json.encode(stored).decode())
    else:
        from config_service.source_text import write_yaml

        typer.echo(write_yaml(stored.document), nl=False)


@app.command("set")
def set_(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A YAML or JSON document; - is standard input.")],
    if_revision: Annotated[
        int | None, typer.Option(min=0, metavar="N", help="Only if the agent is at revision N; 0: only if it is new.")
    ] = None,
    nats: Nats = None,
    data: Data = None,
    json: Json = False,
) -> None:
    """Store an agent; the next call runs on it.

    The file needs an id; every other field has a default.

    Example: echo '{id: desk, greeting: Good morning!, facts: [We open at nine.]}' | antiphon agent set -
    """
    if file == "-":
        from config_service.files import read_bytes

        agents = read_bytes(sys.stdin.buffer.read(), "standard input")
    else:
        agents = load([Path(file)])
    if if_revision is not None and len(agents) != 1:
        raise WrongUse(f"--if-revision is for one agent, and {file} holds {len(agents)}: set them one by one")
    _store(agents, nats, data, json, if_revision)


@app.command()
def edit(agent: Id, nats: Nats = None, data: Data = None) -> None:
    """Open an agent in $VISUAL or $EDITOR, and store it when the editor ends.

    A document that is wrong, or that another writer stored meanwhile, is not stored: its file is kept and named.

    Example: EDITOR=nano antiphon agent edit receptionist
    """
    from cli.editor import edited
    from config_service.documents import BadDocument
    from config_service.source_text import write_yaml

    stored = _stored(agent, nats, data)
    before = write_yaml(stored.document)
    file = edited(before, f"antiphon-{agent}-")
    try:
        if file.read_text("utf-8") == before:
            typer.echo(f"{agent}: unchanged")
        else:
            agents = load([file])
            if [document.id for document in agents] != [agent]:
                raise BadDocument(f"{file}: not {agent} alone: use `antiphon agent set` for agents of other ids")
            _store(agents, nats, data, False, stored.revision)
    except BaseException:
        again = f"antiphon agent set {file} --if-revision {stored.revision}"
        typer.echo(f"your text is kept in {file}; when it is right: {again}", err=True)
        raise
    file.unlink()


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
    """Return the agents in files and folders. Raises BadDocument that names the file, the line and the field."""
    from config_service.files import read_files

    return read_files(paths)


def example_agent() -> "AgentDocument":
    """Return the example agent, which `up` and `demo` store at their first start."""
    return load([EXAMPLES / "agents" / "receptionist.json"])[0]


def _store(
    agents: "list[AgentDocument]", nats: str | None, data: Path | None, json: bool, if_revision: int | None = None
) -> None:
    from config_service.documents import StaleRevision

    conditions = {} if if_revision is None else {agent.id: if_revision for agent in agents}
    try:
        revisions = _ask(nats, data, lambda client: client.set(agents, conditions))
    except StaleRevision as stale:
        raise Failed(f"{stale}. Compare with `antiphon agent show`, then name that revision.") from None
    if json:
        import msgspec

        typer.echo(msgspec.json.encode({"set": revisions}).decode())
    else:
        for agent, revision in revisions.items():
            typer.echo(f"{agent}: revision {revision}")
    _warn_of_ends(agents)


def _warn_of_ends(agents: "list[AgentDocument]") -> None:
    from datetime import date

    from config_service.model_catalogue import warnings

    for agent in agents:
        for line in warnings(agent, date.today()):
            typer.echo(f"warning: agent {agent.id}: {line}", err=True)


def _stored(agent: str, nats: str | None, data: Path | None) -> "StoredAgent":
    from schemas.subjects import BadId, check_id

    try:
        check_id(agent, "agent id")
    except BadId as wrong:
        raise WrongUse(str(wrong)) from None
    return _ask(nats, data, lambda client: client.stored(agent))


def _ask(nats: str | None, data: Path | None, question: "Callable[[ConfigClient], Awaitable[T]]") -> T:
    from bus.connect import connect
    from bus.errors import NoResponders
    from cli import processes
    from cli.discovery import bus_settings
    from config_service.client import ConfigClient

    async def ask() -> T:
        async with connect(bus_settings(nats, data), "antiphon agent") as bus:
            try:
                return await question(ConfigClient(bus))
            except NoResponders:
                raise Failed("no config service answers: start `antiphon up` or `antiphon run config`") from None

    return processes.run(ask())
