"""`antiphon`: one command a file; what goes wrong anywhere below becomes one line and an exit code here.

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

COMMANDS = {  # name -> what `antiphon --help` says of it, which is the first line of its own help
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
    "agent": "List, show, set, edit and import agents.",
}

# Our own exceptions carry a text for a person; any other exception is a bug of ours, and its text may quote a caller.
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

HELP_COLUMNS = 100  # where the terminal has them


class Commands(TyperGroup):
    """The commands by name; `cli/NAME.py` holds the function NAME, or `app` if there are commands below it."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        # After a slip of the finger all of them: typer suggests the nearest that it knows.
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
        os.environ["ANTIPHON_DEBUG"] = "1"  # for the processes that we start, too


def main() -> None:
    """The console script."""
    _have_standard_files()
    sys.exit(_run())


def _have_standard_files() -> None:
    """Who starts us may have closed them; what is opened next would get their numbers, and the loop dies of that."""
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free: this one


def _run() -> int:
    try:
        result = app(standalone_mode=False)
    except typer.TyperException as error:  # wrong options and the like
        if type(error).__name__ == "NoArgsIsHelpError":  # whose class typer keeps to itself; its text is the help
            typer.echo(error.format_message(), err=True)
        else:
            _tell(f"{error.format_message()} (antiphon {' '.join(sys.argv[1:2])} --help tells what there is)")
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
    ours = isinstance(error, Failed | OSError) or type(error).__module__.partition(".")[0] in OURS
    _tell(str(error) if ours else f"{type(error).__name__}: a bug of ours: run again with --debug")
    return WRONG_USE if isinstance(error, WrongUse) else FAILED


def _tell(text: str) -> None:
    typer.echo(f"error: {' '.join(text.split())}", err=True)


if __name__ == "__main__":
    main()
