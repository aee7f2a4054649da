"""`antiphon`: one command a file; what goes wrong anywhere below becomes one line and an exit code here.

The command files import nothing heavy at their top, so that `--help` and every quick command stay quick.
"""

import os
import sys
from typing import Annotated

import typer

from cli import agent, call, demo, doctor, export, fetch, ps, run, tail, up
from cli.errors import DONE, FAILED, INTERRUPTED, WRONG_USE, Failed, WrongUse

# Our own exceptions carry a text for a person; any other exception is a bug of ours, and its text may quote a caller.
OURS = ("bus", "calls", "cli", "config_service", "schemas", "stages", "transports")

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (demo.demo, up.up, call.call, ps.ps, tail.tail, export.export, run.run, fetch.fetch, doctor.doctor):
    app.command()(command)
app.add_typer(agent.app, name="agent")


@app.callback()
def antiphon(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks, log at debug.")] = False,
) -> None:
    """Voice agents over NATS: each stage of a call in its own process.

    Start with [bold]antiphon demo[/bold], or with [bold]antiphon up[/bold] in one terminal and
    [bold]antiphon call question.wav[/bold] in another.

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
