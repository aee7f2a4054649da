"""Run `antiphon`: find the command's file, and print a failure as one line with an exit code.

A command's file is imported when the command is called, and help is plain text: both keep `--help` quick.
"""

import importlib
import os
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup
from typer.main import get_command

from cli.errors import DONE, FAILED, INTERRUPTED, WRONG_USE, Failed, WrongUse

COMMANDS = {  # name -> its line in `antiphon --help`, which is also the first line of its own help
    "demo": "Play a call from the first hello to the last goodbye, with local models and no network.",
    "up": "Start NATS, the config service and every stage on this machine.",
    "say": "Make a recording of what a caller says, with the local voice.",
    "call": "Call an agent with a recording, at the pace of real time.",
    "ps": "List the workers that run, and the sessions that they own.",
    "tail": "Follow calls live: who speaks, what is understood, what is answered.",
    "export": "Write what the journal remembers of all calls into a file.",
    "run": "Run a worker for one or more stages.",
    "fetch": "Fetch what the local models need: 104 MB, once.",
    "doctor": "Check this machine and the platform, and say what to do about each fault.",
    "dispatch": "Send an agent into a room of LiveKit.",
    "agent": "List, show, set, edit, publish and import agents.",
    "campaign": "List, show, set and publish campaigns.",
    "number": "List, set and remove phone numbers.",
}

# Exceptions of these packages carry a text for users. Any other exception is a fault of Antiphon, and its text may
# quote a caller.
OURS = (
    "antiphon_testing",
    "bus",
    "cli",
    "composition",
    "config_service",
    "gateway",
    "schemas",
    "session",
    "stages",
    "telemetry",
    "transports",
)

HELP_COLUMNS = 100  # at most; less on a narrower terminal


class Commands(TyperGroup):
    """The commands by name. `cli/NAME.py` holds the function NAME, or `app` for a command with commands of its own."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        # For a name that is no command, load all of them: typer suggests the nearest one.
        for name in [cmd_name] if cmd_name in COMMANDS else COMMANDS:
            if name not in self.commands:
                self.add_command(_command(name), name)
        return self.commands.get(cmd_name)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


def _command(name: str) -> Any:
    file = importlib.import_module(f"cli.{name}")
    if hasattr(file, "app"):
        return get_command(file.app)
    alone = typer.Typer(add_completion=False, rich_markup_mode=None)
    alone.command()(getattr(file, name))
    return get_command(alone)


app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": HELP_COLUMNS},
)


@app.callback()
def antiphon(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks, log at debug.")] = False,
) -> None:
    """Voice agents over NATS: each stage of a call in its own process.

    Start with `antiphon demo`, or with `antiphon up` and the page that it prints.

    Exit codes: 0 done, 1 the work failed, 2 wrong use.
    """
    if debug:
        os.environ["ANTIPHON_DEBUG"] = "1"  # child processes inherit it


def main() -> None:
    """Run the console script."""
    _have_standard_files()
    sys.exit(_run())


def _have_standard_files() -> None:
    """Open standard files that the parent process has closed: else a socket could get one of their numbers."""
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # opens the lowest free number, which is this one


def _run() -> int:
    try:
        result = app(standalone_mode=False)
    except typer.TyperException as error:  # wrong use, such as an unknown option
        if type(error).__name__ == "NoArgsIsHelpError":  # typer does not export its class; its text is the help
            typer.echo(error.format_message(), err=True)
        else:
            _print_error(f"{error.format_message()} (antiphon {' '.join(sys.argv[1:2])} --help shows the choices)")
        return error.exit_code
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    except Exception as error:
        if os.environ.get("ANTIPHON_DEBUG"):
            raise
        return _failed(error)
    return result if isinstance(result, int) else DONE


def _failed(error: BaseException) -> int:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    for_users = isinstance(error, Failed | OSError) or type(error).__module__.partition(".")[0] in OURS
    _print_error(
        str(error) if for_users else f"{type(error).__name__}: a fault of Antiphon. Run the command again with --debug."
    )
    return WRONG_USE if isinstance(error, WrongUse) else FAILED


def _print_error(text: str) -> None:
    typer.echo(f"error: {' '.join(text.split())}", err=True)


if __name__ == "__main__":
    main()
