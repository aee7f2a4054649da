"""Run `antiphon agent`: list, show, set, edit and import agents through the config service."""

import json as json_
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli import versions
from cli.config_access import ask, author, key_of
from cli.discovery import EXAMPLES
from cli.errors import Failed, WrongUse
from cli.options import Data, Nats

if TYPE_CHECKING:
    from collections.abc import Awaitable, Mapping

    from config_service.client import ConfigClient
    from config_service.files import Bundle
    from schemas.agent import AgentDocument

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    help="List, show, set, edit, publish and import agents.\n\nExample: antiphon agent show receptionist",
)
versions.add_to(app)

Json = Annotated[bool, typer.Option("--json", help="JSON for programs.")]
Id = Annotated[str, typer.Argument(metavar="ID", help="The agent's id.")]


@app.command("list")
def list_(nats: Nats = None, data: Data = None, json: Json = False) -> None:
    """List every agent, with its revision and providers.

    Example: antiphon agent list --json | jq -r '.agents[].id'
    """
    lines = ask(nats, data, lambda client: client.list())
    if json:
        import msgspec

        typer.echo(msgspec.json.encode({"agents": lines}).decode())
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table("agent", "name", "revision", "stt", "llm", "tts", "facts", "", box=None)
    for line in lines:
        revision = str(line.revision or ("draft" if line.latest else "built in"))
        problem = f"[red]{escape(line.problem)}[/]"
        table.add_row(line.id, escape(line.name), revision, line.stt, line.llm, line.tts, str(line.facts), problem)
    Console().print(table)


@app.command()
def explain(
    agent: Id,
    campaign: Annotated[str, typer.Option(help="A campaign of the agent.")] = "",
    nats: Nats = None,
    data: Data = None,
    json: Json = False,
) -> None:
    """Print each field that calls run on, and the layer that its value comes from.

    Example: antiphon agent explain desk --campaign summer
    """
    key = key_of(f"{agent}:{campaign}" if campaign else agent)
    fields = ask(nats, data, lambda client: client.explain(key))
    if json:
        import msgspec

        typer.echo(msgspec.json.encode({"fields": fields}).decode())
        return
    for field in fields:
        typer.echo(f"{field.origin:<11} {field.path}: {json_.dumps(field.value, ensure_ascii=False)}")


@app.command("set")
def set_(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A YAML or JSON document; - is standard input.")],
    if_revision: Annotated[
        int | None, typer.Option(min=0, metavar="N", help="Only if the agent is at revision N; 0: only if it is new.")
    ] = None,
    draft: Annotated[bool, typer.Option("--draft", help="Save a version, and publish nothing.")] = False,
    nats: Nats = None,
    data: Data = None,
    json: Json = False,
) -> None:
    """Store an agent; the next call runs on it.

    The file needs an id; every other field has a default.

    Example: echo '{id: desk, greeting: Good morning!, facts: [We open at nine.]}' | antiphon agent set -
    """
    from config_service.files import Bundle

    if file == "-":
        from config_service.files import read_bytes

        agents = read_bytes(sys.stdin.buffer.read(), "standard input")
    else:
        agents = load([Path(file)])
    if if_revision is not None and len(agents) != 1:
        raise WrongUse(f"--if-revision is for one agent, and {file} holds {len(agents)}: set them one by one")
    conditions = None if if_revision is None else {agents[0].id: if_revision}
    _store(Bundle(agents, [], []), nats, data, json, conditions, draft=draft)


@app.command()
def edit(agent: Id, nats: Nats = None, data: Data = None) -> None:
    """Open an agent in $VISUAL or $EDITOR, and store it when the editor ends.

    A document that is wrong, or that another writer stored meanwhile, is not stored: its file is kept and named.

    Example: EDITOR=nano antiphon agent edit receptionist
    """
    from cli.editor import edited
    from config_service.documents import BadDocument
    from config_service.files import Bundle
    from config_service.source_text import write_yaml

    key = key_of(agent)
    stored = ask(nats, data, lambda client: client.stored(*key))
    before = write_yaml(stored.document)
    file = edited(before, f"antiphon-{agent}-")
    try:
        if file.read_text("utf-8") == before:
            typer.echo(f"{agent}: unchanged")
        else:
            agents = load([file])
            if [document.id for document in agents] != [agent]:
                raise BadDocument(f"{file}: not {agent} alone: use `antiphon agent set` for agents of other ids")
            _store(Bundle(agents, [], []), nats, data, False, {agent: stored.revision})
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
    """Store many agents, campaigns and numbers: all of them, or none if one is wrong.

    Example: antiphon agent import examples/agents/
    """
    from config_service.files import read_bundle

    _store(read_bundle(paths), nats, data, json)


@app.command()
def export(
    agents: Annotated[list[str] | None, typer.Argument(metavar="[ID...]", help="These agents; all by default.")] = None,
    nats: Nats = None,
    data: Data = None,
) -> None:
    """Print the published agents, their campaigns and numbers as YAML, which `import` reads.

    Example: antiphon agent export > backup.yaml
    """
    from config_service.editor import exported
    from config_service.source_text import write_yaml

    chosen = [key_of(agent).agent for agent in agents or []]
    texts = [write_yaml(document) for document in ask(nats, data, lambda client: exported(client, chosen))]
    typer.echo("---\n".join(texts), nl=False)


def load(paths: list[Path]) -> "list[AgentDocument]":
    """Return the agents in files and folders. Raises BadDocument that names the file, the line and the field."""
    from config_service.files import read_files

    return read_files(paths)


def example_agent() -> "AgentDocument":
    """Return the example agent, which `up` and `demo` store at their first start."""
    return load([EXAMPLES / "agents" / "receptionist.json"])[0]


def _store(
    bundle: "Bundle",
    nats: str | None,
    data: Path | None,
    json: bool,
    conditions: "Mapping[str, int] | None" = None,
    *,
    draft: bool = False,
) -> None:
    from config_service.documents import StaleRevision

    def set_all(client: "ConfigClient") -> "Awaitable[dict[str, int]]":
        return client.set(
            bundle.agents,
            conditions,
            campaigns=bundle.campaigns,
            numbers=bundle.numbers,
            author=author(),
            draft=draft,
        )

    try:
        revisions = ask(nats, data, set_all)
    except StaleRevision as stale:
        raise Failed(f"{stale}. Compare with `antiphon agent show`, then name that revision.") from None
    if json:
        import msgspec

        typer.echo(msgspec.json.encode({"set": revisions}).decode())
    else:
        for agent, revision in revisions.items():
            typer.echo(f"{agent}: revision {revision}{' (draft)' if draft else ''}")
    _warn_of_ends(bundle.agents)


def _warn_of_ends(agents: "list[AgentDocument]") -> None:
    from datetime import date

    from config_service.model_catalogue import warnings

    for agent in agents:
        for line in warnings(agent, date.today()):
            typer.echo(f"warning: agent {agent.id}: {line}", err=True)
