"""Run `antiphon number`: which agent answers a phone number."""

from typing import Annotated

import typer

from cli.config_access import ask, key_of
from cli.options import Data, Nats
from cli.versions import Json

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    help="List, set and remove phone numbers.\n\nExample: antiphon number set +15551234567 desk:summer",
)

Number = Annotated[str, typer.Argument(metavar="NUMBER", help="In full, such as +15551234567.")]


@app.command("list")
def list_(nats: Nats = None, data: Data = None, json: Json = False) -> None:
    """List the phone numbers, and who answers them.

    Example: antiphon number list
    """
    lines = ask(nats, data, lambda client: client.numbers())
    if json:
        import msgspec

        typer.echo(msgspec.json.encode({"numbers": lines}).decode())
        return
    for line in lines:
        typer.echo(f"{line.number} {line.agent}{':' if line.campaign else ''}{line.campaign}")


@app.command("set")
def set_(
    number: Number,
    key: Annotated[str, typer.Argument(metavar="KEY", help="An agent, or AGENT:CAMPAIGN for a campaign.")],
    nats: Nats = None,
    data: Data = None,
) -> None:
    """Let an agent, or a campaign of it, answer a phone number.

    Example: antiphon number set +15551234567 desk:summer
    """
    named = key_of(key)
    _set(number, named.agent, named.campaign, nats, data)
    typer.echo(f"{number}: {key} answers")


@app.command()
def remove(number: Number, nats: Nats = None, data: Data = None) -> None:
    """Forget a phone number.

    Example: antiphon number remove +15551234567
    """
    _set(number, "", "", nats, data)
    typer.echo(f"{number}: removed")


def _set(number: str, agent: str, campaign: str, nats: Nats, data: Data) -> None:
    from config_service.campaigns import parse_number

    document = parse_number({"number": number, "agent": agent, "campaign": campaign})
    ask(nats, data, lambda client: client.set([], numbers=[document]))
