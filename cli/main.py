"""`antiphon`: one command a file; what goes wrong anywhere below becomes one line and an exit code here."""

import importlib
import os
import sys
from typing import Annotated, Any

import click
import typer
from typer.core import TyperGroup

from cli.errors import FAILED, WRONG_USE, Failed, WrongUse

# command -> (module, function or app, one line). Imported when called, so that --help and every other command stay quick.
COMMANDS = {
    "demo": ("cli.demo", "demo", "Play a whole call, no keys needed, and leave its recording and picture."),
    "up": ("cli.up", "up", "Start everything on this machine: NATS, config service, all stages."),
    "call": ("cli.call", "call", "Call an agent with a WAV file and hear what it answers."),
    "run": ("cli.run", "run", "One worker process: stt, llm, tts, egress, ingress or config."),
    "ps": ("cli.ps", "ps", "Which workers run and which sessions they own."),
    "tail": ("cli.tail", "tail", "Follow calls as they happen."),
    "agent": ("cli.agent", "app", "List, show, set and import agents."),
    "fetch": ("cli.fetch", "fetch", "Fetch what the local models need."),
    "doctor": ("cli.doctor", "doctor", "What works here, what is missing, what to do about it."),
}


class LazyCommands(TyperGroup):
    """Lists the table above without importing what is behind it."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, name, summary = COMMANDS[cmd_name]
        if ctx.command is self and "--help" in sys.argv[1:2]:
            return click.Command(cmd_name, short_help=summary, help=summary)
        return _command(cmd_name, getattr(importlib.import_module(module), name))


app = typer.Typer(
    cls=LazyCommands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def antiphon(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks, log at debug.")] = False,
) -> None:
    """Voice agents over NATS: each stage of a call in its own process.

    Start with [bold]antiphon demo[/bold], or with [bold]antiphon up[/bold] in one terminal and
    [bold]antiphon call question.wav[/bold] in another.

    Exit codes: 0 done, 1 the work failed, 2 wrong use.
    """


def main() -> None:
    """The console script."""
    debug = "--debug" in sys.argv or bool(os.environ.get("ANTIPHON_DEBUG"))
    try:
        result = app(standalone_mode=False)
    except (KeyboardInterrupt, click.Abort):
        sys.exit(130)
    except click.UsageError as error:
        error.show()
        sys.exit(WRONG_USE)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except Exception as error:
        if debug:
            raise
        sys.exit(_tell(error))
    sys.exit(result if isinstance(result, int) else 0)


def _tell(error: BaseException) -> int:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    known = isinstance(error, Failed | OSError) or type(error).__module__.split(".")[0] in _OURS
    text = " ".join(str(error).split()) if known else f"{type(error).__name__} (a bug of ours: run again with --debug)"
    typer.echo(f"error: {text}", err=True)
    return WRONG_USE if isinstance(error, WrongUse) else FAILED


_OURS = {"bus", "calls", "cli", "config_service", "schemas", "stages", "transports"}


def _command(name: str, found: Any) -> click.Command:
    if isinstance(found, typer.Typer):
        command: click.Command = typer.main.get_command(found)
    else:
        single = typer.Typer(add_completion=False, rich_markup_mode="rich")
        single.command(name)(found)
        command = typer.main.get_command(single)
    command.name = name
    return command


if __name__ == "__main__":
    main()
