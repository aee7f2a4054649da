"""The commands that agents and campaigns share. KEY is `desk` for an agent, and `desk:summer` for a campaign."""

from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from cli.config_access import ask, key_of
from cli.errors import Failed, WrongUse
from cli.options import Data, Nats

Name = Annotated[str, typer.Argument(metavar="KEY", help="An agent, or AGENT:CAMPAIGN for a campaign.")]
Json = Annotated[bool, typer.Option("--json", help="JSON for programs.")]
Version = Annotated[int, typer.Option(min=0, metavar="N", help="This version; 0: the published one.")]
IfPublished = Annotated[
    int | None, typer.Option("--if-revision", min=0, metavar="N", help="Only if revision N is published until then.")
]


def add_to(app: typer.Typer) -> None:
    """Add the commands to a command of its own."""
    for command in (show, versions, diff, publish, rollback):
        app.command()(command)


def show(key: Name, version: Version = 0, nats: Nats = None, data: Data = None, json: Json = False) -> None:
    """Print one agent, or the overrides of a campaign, as YAML, which can be edited and set again.

    Example: antiphon agent show receptionist > mine.yaml
    """
    named = key_of(key)
    stored = ask(nats, data, lambda client: client.stored(*named, version))
    if json:
        import msgspec

        typer.echo(msgspec.json.encode(stored).decode())
        return
    from config_service.source_text import write_yaml

    document: dict[str, Any] = stored.document
    if named.campaign:
        document = {**named._asdict(), "overrides": stored.document}
    typer.echo(write_yaml(document), nl=False)


def versions(key: Name, nats: Nats = None, data: Data = None, json: Json = False) -> None:
    """List the saved versions, the newest first, with author and time.

    Example: antiphon agent versions receptionist
    """
    named = key_of(key)
    lines = ask(nats, data, lambda client: client.versions(named))
    if json:
        import msgspec

        typer.echo(msgspec.json.encode({"versions": lines}).decode())
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table("version", "saved (UTC)", "author", "", box=None)
    for line in lines:
        saved = datetime.fromtimestamp(line.saved / 1e6, UTC).strftime("%Y-%m-%d %H:%M:%S")
        table.add_row(str(line.version), saved, escape(line.author), "published" if line.published else "")
    Console().print(table)


def diff(
    key: Name,
    before: Annotated[int, typer.Argument(min=0, metavar="[FROM]", help="A version; 0: the published one.")] = 0,
    after: Annotated[int, typer.Argument(min=0, metavar="[TO]", help="A version; 0: the newest one.")] = 0,
    nats: Nats = None,
    data: Data = None,
    json: Json = False,
) -> None:
    """Print the fields in which two versions differ: the published and the newest one by default.

    Example: antiphon agent diff receptionist 3 5
    """
    from config_service.editor import compare
    from config_service.merge import ABSENT

    named = key_of(key)
    changes = ask(nats, data, lambda client: compare(client, named, before, after))
    if json:
        import msgspec

        found = [
            {"path": change.path}
            | ({} if change.before is ABSENT else {"before": change.before})
            | ({} if change.after is ABSENT else {"after": change.after})
            for change in changes
        ]
        typer.echo(msgspec.json.encode({"changes": found}).decode())
        return
    for change in changes:
        typer.echo(f"{change.path}: {_shown(change.before)} -> {_shown(change.after)}")


def publish(
    key: Name,
    version: Annotated[int, typer.Option(min=0, metavar="N", help="This version; 0: the newest one.")] = 0,
    if_published: IfPublished = None,
    nats: Nats = None,
    data: Data = None,
) -> None:
    """Let the next calls run on a version: the newest one by default.

    Example: antiphon agent publish receptionist
    """
    _publish(key, version, if_published, nats, data)


def rollback(
    key: Name,
    to: Annotated[int, typer.Option(min=0, metavar="N", help="This version; 0: the one before the published one.")] = 0,
    if_published: IfPublished = None,
    nats: Nats = None,
    data: Data = None,
) -> None:
    """Let the next calls run on an earlier version again; no version is lost.

    Example: antiphon agent rollback receptionist
    """
    named = key_of(key)
    lines = ask(nats, data, lambda client: client.versions(named))
    published = next((line.version for line in lines if line.published), 0)
    earlier = [line.version for line in lines if line.version < published]
    if not (to or earlier):
        raise Failed(f"cannot roll {key} back: no version is older than the published one")
    if to and to not in {line.version for line in lines}:
        raise WrongUse(f"cannot roll {key} back: it has no version {to}. `antiphon agent versions {key}` lists them.")
    _publish(key, to or earlier[0], published if if_published is None else if_published, nats, data)


def _publish(key: str, version: int, if_published: int | None, nats: Nats, data: Data) -> None:
    from config_service.documents import StaleRevision

    named = key_of(key)
    try:
        published = ask(nats, data, lambda client: client.publish(named, version, if_published))
    except StaleRevision as stale:
        raise Failed(f"{stale}. Compare with `antiphon agent versions`, then name that revision.") from None
    typer.echo(f"{key}: revision {published} is published")


def _shown(value: Any) -> str:
    from config_service.merge import ABSENT

    if value is ABSENT:
        return "(none)"
    import json

    return json.dumps(value, ensure_ascii=False)
