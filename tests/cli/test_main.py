"""`antiphon` itself: what it says of its commands, what it loads to say so, and what a slip of the finger gets."""

import importlib
import inspect
import subprocess
import sys

import pytest

from antiphon_testing.command import ROOT, antiphon
from cli.main import COMMANDS

HEAVY = (  # none of them is needed to say what there is
    "aiohttp", "asyncio", "asyncpg", "hibari", "livekit", "matplotlib", "moonshine_voice", "msgspec", "nats", "numpy",
    "onnxruntime", "openai", "pyarrow", "pydantic", "rich", "soundfile", "soxr", "sqlalchemy", "structlog", "uvloop",
    "xllamacpp",
)  # fmt: skip
LOADED = f"""
import sys
from cli.main import app
app(["--help"], standalone_mode=False)
print("loaded:", *sorted(name for name in sys.modules if name in {HEAVY} or name.startswith("cli.")))
"""


def test_help_loads_no_sdk_and_no_command() -> None:
    told = subprocess.run([sys.executable, "-c", LOADED], cwd=ROOT, capture_output=True, text=True, check=True)
    assert told.stdout.splitlines()[-1] == "loaded: cli.errors cli.main"


def test_every_command_stands_in_the_help_in_its_own_words() -> None:
    for name, line in COMMANDS.items():
        file = importlib.import_module(f"cli.{name}")
        own = file.app.info.help if hasattr(file, "app") else inspect.getdoc(getattr(file, name))
        assert str(own).splitlines()[0] == line


async def test_help_names_every_command_at_once() -> None:
    told = await antiphon("--help")
    assert told.code == 0
    listed = told.out.partition("\nCommands:\n")[2]
    assert [line.split()[0] for line in listed.splitlines() if line[2:3].strip()] == list(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
async def test_every_command_has_a_help_of_its_own(command: str) -> None:
    told = await antiphon(command, "--help")
    assert (told.code, told.err) == (0, "")
    assert told.out.startswith("Usage: ")
    assert COMMANDS[command] in " ".join(told.out.split())
    assert "\\[" not in told.out, "a bracket needs no backslash: the help has no markup"


async def test_a_slip_of_the_finger_is_met_with_the_nearest_command() -> None:
    told = await antiphon("tial")
    assert (told.code, told.out) == (2, "")
    assert told.err.startswith("error: No such command 'tial'. Did you mean 'tail'?")


@pytest.mark.parametrize("words", [(), ("agent",)])
async def test_no_command_at_all_is_answered_with_the_help(words: tuple[str, ...]) -> None:
    told = await antiphon(*words)
    assert (told.code, told.out) == (2, "")
    assert told.err.startswith("Usage: ")
