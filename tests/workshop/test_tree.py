"""The tree is what the workshop believes it is: packages, pure files, and where the environment is read."""

import ast
import gc
import tomllib
from collections.abc import Iterator
from fnmatch import fnmatch
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PYPROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PACKAGES: list[str] = PYPROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
LINTER: dict[str, Any] = PYPROJECT["tool"]["importlinter"]
ONLY_HERE = {"bench", "docs", "tests"}  # needed in a checkout, not in an image

# Every file of a stage is pure, but these.
SHELLS = (
    "stages.*.stage",  # waits for events
    "stages.runtime.*",  # the life of a worker and of its sessions
    "stages.*.providers*",  # wait for vendors
    "stages.ingress.*",  # coordinates: it has a clock and asks over the bus
    "stages.llm.chat_client",  # asks vendors over HTTP
    "stages.llm.http_stream",  # reads a vendor's answer, with deadlines
    "stages.llm.fallback",  # asks one model after another
    "stages.llm.draft",  # a reply as a task that runs before its turn
    "stages.llm.reply",  # reads a model's stream, with a deadline
    "stages.llm.waiting_notice",  # waits for the first words of a reply
    "stages.stt.fallback",  # waits for the recognizers of a chain
    "stages.stt.heard_queue",  # waits for outputs
    "stages.stt.transcription_scheduler",  # shares the one transcriber of a worker between its callers
    "stages.stt.segmenting_recognizer",  # waits for a transcriber
    "stages.stt.silero",  # loads the model
    "stages.stt.silero_engine",  # gathers windows of many callers into one run of the model
    "stages.stt.utterance",  # holds jobs of the scheduler
    "stages.stt.vad",  # loads the model of a worker
    "stages.tts.agent_audio",  # waits for credit
    "stages.tts.context_provider",  # opens sockets
    "stages.tts.context_turn",  # waits for a vendor's messages
    "stages.tts.fallback",  # waits for the voices of a chain
    "stages.tts.shared_socket",  # connects to vendors
    "stages.tts.sentence_synthesizer",  # queues the sentences of a turn
    "stages.tts.speech",  # reads a synthesizer's stream, with a deadline
)


def sources() -> Iterator[Path]:
    for package in PACKAGES:
        yield from sorted((ROOT / package).rglob("*.py"))


def module(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def test_every_package_is_shipped_and_held_to_the_contracts() -> None:
    on_disk = {folder.parent.name for folder in ROOT.glob("*/__init__.py")} - ONLY_HERE
    assert sorted(on_disk) == sorted(PACKAGES)
    assert sorted(LINTER["root_packages"]) == sorted([*PACKAGES, "bench"])
    layers = next(contract["layers"] for contract in LINTER["contracts"] if contract["id"] == "layers")
    assert sorted(name for layer in layers for name in layer.replace("|", " ").split()) == sorted([*PACKAGES, "bench"])


def test_every_file_of_a_stage_is_pure_or_a_shell() -> None:
    pure = next(contract["source_modules"] for contract in LINTER["contracts"] if contract["id"] == "pure")
    undecided = [
        module(path)
        for path in sorted((ROOT / "stages").glob("*/**/*.py"))
        if path.name != "__init__.py" and not any(fnmatch(module(path), pattern) for pattern in (*pure, *SHELLS))
    ]
    assert undecided == [], "add each to the contract `pure` in pyproject.toml, or say here why it is a shell"


def test_no_installed_distribution_uses_the_name_of_a_package_of_ours() -> None:
    taken = packages_distributions()
    assert {name: taken[name] for name in (*PACKAGES, *ONLY_HERE) if set(taken.get(name, ())) - {"antiphon"}} == {}


def parsed(code: str) -> ast.Module:
    """Parse without the garbage collector: in Python 3.11 one that runs meanwhile raises SystemError (gh-106905)."""
    gc.disable()
    try:
        return ast.parse(code)
    finally:
        gc.enable()


def test_every_module_begins_with_one_line_that_says_what_it_is() -> None:
    nameless = [
        module(path)
        for path in sources()
        if not (ast.get_docstring(parsed(path.read_text(encoding="utf-8"))) or "").partition("\n")[0].strip()
    ]
    assert nameless == []


def reads_the_environment(code: str) -> bool:
    for node in ast.walk(parsed(code)):
        if isinstance(node, ast.Attribute) and node.attr in ("environ", "environb", "getenv"):
            return True
        if (
            isinstance(node, ast.ImportFrom)
            and node.module == "os"
            and {"environ", "getenv"} & {n.name for n in node.names}
        ):
            return True
    return False


@pytest.mark.parametrize(
    "code", ["import os\nos.environ['A']", "import os as o\no.getenv('A')", "from os import environ"]
)
def test_reading_the_environment_is_noticed(code: str) -> None:
    assert reads_the_environment(code)


def test_the_environment_is_read_only_in_cli() -> None:
    elsewhere = [path for path in sources() if path.relative_to(ROOT).parts[0] != "cli"]
    readers = [module(path) for path in elsewhere if reads_the_environment(path.read_text(encoding="utf-8"))]
    assert readers == ["antiphon_testing.environment"], "the kit hands the environment on to what it starts"
