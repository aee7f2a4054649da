"""Run `antiphon campaign`: what changes an agent for the calls of a campaign."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from cli import versions
from cli.config_access import ask, author
from cli.errors import Failed, WrongUse
from cli.options import Data, Nats
from cli.versions import Json

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    help="List, show, set and publish campaigns.\n\nExample: antiphon campaign show desk:summer",
)
versions.add_to(app)


@app.command("list")
def list_(
    agent: Annotated[str, typer.Argument(metavar="[AGENT]", help="Only its campaigns.")] = "",
    nats: Nats = None,
    data: Data = None,
    json: Json = False,
) -> None:
    """List the campaigns of one agent, or of all.

    Example: antiphon campaign list desk
    """
    lines = ask(nats, data, lambda client: client.campaigns(agent))
    if json:
        import msgspec

        typer.echo(msgspec.json.encode({"campaigns": lines}).decode())
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("campaign", "revision", "newest", box=None)
    for line in lines:
        table.add_row(f"{line.agent}:{line.campaign}", str(line.revision or "draft"), str(line.latest))
    Console().print(table)


@app.command("set")
def set_(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A YAML or JSON document; - is standard input.")],
    if_revision: Annotated[
        int | None, typer.Option(min=0, metavar="N", help="Only if it is at revision N; 0: only if it is new.")
    ] = None,
    draft: Annotated[bool, typer.Option("--draft", help="Save a version, and publish nothing.")] = False,
    nats: Nats = None,
    data: Data = None,
    json: Json = False,
) -> None:
    """Store a campaign of an agent: the fields that it changes for its calls.

    Example: echo '{agent: desk, campaign: summer, overrides: {greeting: Hot today!}}' | antiphon campaign set -
    """
    from config_service.documents import StaleRevision
    from config_service.files import bundle_bytes, read_bundle

    bundle = bundle_bytes(sys.stdin.buffer.read(), "standard input") if file == "-" else read_bundle([Path(file)])
    if len(bundle.campaigns) != 1 or bundle.agents or bundle.numbers:
        raise WrongUse(f"{file} is not one campaign: use `antiphon agent import` for several documents")
    (campaign,) = bundle.campaigns
    key = f"{campaign.agent}:{campaign.campaign}"
    conditions = None if if_revision is None else {key: if_revision}
    try:
        revisions = ask(
            nats,
            data,
            lambda client: client.set([], conditions, campaigns=[campaign], author=author(), draft=draft),
        )
    except StaleRevision as stale:
        raise Failed(f"{stale}. Compare with `antiphon campaign show {key}`, then name that revision.") from None
    if json:
        import msgspec

        typer.echo(msgspec.json.encode({"set": revisions}).decode())
    else:
        typer.echo(f"{key}: revision {revisions[key]}{' (draft)' if draft else ''}")
