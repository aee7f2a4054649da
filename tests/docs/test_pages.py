"""Every page stands on its own feet: its links lead somewhere, and what it names is there."""

import ast
import re
from functools import cache
from pathlib import Path
from typing import get_args

import pytest

from bus.settings import BusSettings
from config_service.files import read_text
from schemas.agent import AgentDocument, AgentFact, Turns
from schemas.events import CloseReason
from transports.livekit.settings import LIVEKIT_VARIABLES

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    path
    for path in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").rglob("*.md")]
    if path.is_file()
)
WALK = ("README.md", "ARCHITECTURE.md", "turns.md", "providers.md", "operations.md", "CONTRIBUTING.md", "GLOSSARY.md")

CODE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?://|mailto:)([^)#\s]*)(#[^)\s]*)?\)")
NAMED = re.compile(r"`((?:[a-z_]+/)+[a-z_]+\.(?:py|md|json|txt|toml))(?::([A-Za-z_][\w.]*))?`")


def text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def page(name: str) -> str:
    return text(ROOT / "docs" / name)


def anchors(path: Path) -> set[str]:
    """The anchors of a page's headings."""
    headings = re.findall(r"^#+ +(.*)$", CODE.sub("", text(path)), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_leads_somewhere(path: Path) -> None:
    lost = []
    for target, anchor in LINK.findall(CODE.sub("", text(path))):
        there = (path.parent / target).resolve() if target else path
        if not there.exists() or (anchor and anchor[1:] not in anchors(there)):
            lost.append(target + anchor)
    assert lost == []


@cache
def names(path: Path) -> frozenset[str]:
    """Classes, functions, methods (`Class.method`) and constants of a file."""
    found: set[str] = set()
    for node in ast.parse(text(path)).body:
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                found.add(node.name)
            case ast.ClassDef():
                inner = (ast.FunctionDef, ast.AsyncFunctionDef)
                found |= {node.name, *(f"{node.name}.{part.name}" for part in node.body if isinstance(part, inner))}
            case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
                found.add(name)
    return frozenset(found)


@pytest.mark.parametrize("path", [path for path in PAGES if path.name in WALK], ids=lambda path: path.name)
def test_every_file_and_function_that_is_named_is_there(path: Path) -> None:
    lost = []
    for file, name in NAMED.findall(text(path)):
        there = ROOT / file
        if "acme" in file:  # the provider that providers.md writes
            continue
        if not there.exists() or (name and name not in names(there)):
            lost.append(f"{file}:{name}")
    assert lost == []


def test_the_walk_names_functions_at_all() -> None:
    assert sum(bool(name) for _, name in NAMED.findall(page("ARCHITECTURE.md"))) > 30


def test_every_field_of_an_agent_is_explained() -> None:
    told = page("configuration.md")
    fields = [*AgentDocument.model_fields, *(f"facts.{name}" for name in AgentFact.model_fields)]
    rules = {name: field.default for name, field in Turns.model_fields.items()}
    defaults = {f"turns.{name}": str(one).lower() if one is True else f"{one:,}" for name, one in rules.items()}
    fields.remove("turns")  # each of its fields has a row of its own
    assert [name for name in fields if f"`{name}`" not in told] == []
    assert [name for name, default in defaults.items() if f"| `{name}` | {default} |" not in told] == []


def test_the_agent_that_is_shown_is_a_valid_one() -> None:
    shown = re.findall(r"```yaml\n(id: .*?)```", page("configuration.md") + page("providers.md"), re.DOTALL)
    assert [agent.id for example in shown for agent in read_text(example, "the page")] == ["desk", "desk"]


def test_every_variable_that_is_read_is_explained() -> None:
    code = "\n".join(text(path) for path in (ROOT / "cli").glob("*.py"))
    read = set(re.findall(r"environ(?:\.get\(|\[)\"(\w+)\"", code))
    read |= {f"ANTIPHON_NATS_{name.upper()}" for name in BusSettings.model_fields} | set(LIVEKIT_VARIABLES.values())
    assert len(read) > 10
    assert sorted(name for name in read if f"`{name}`" not in page("configuration.md")) == []


def test_every_option_of_a_provider_is_explained() -> None:
    lost = []
    for path in sorted((ROOT / "stages").glob("*/providers/*.py")):
        for node in ast.parse(text(path)).body:
            if isinstance(node, ast.ClassDef) and node.name == "Options":
                own = [
                    part.target.id
                    for part in node.body
                    if isinstance(part, ast.AnnAssign) and isinstance(part.target, ast.Name)
                ]
                lost += [
                    f"{path.stem}: {name}" for name in own if f"`{name.removesuffix('_s')}`" not in page("providers.md")
                ]
    assert lost == []


def test_every_counter_is_explained() -> None:
    code = "\n".join(
        text(path) for folder in ("stages", "session", "transports") for path in (ROOT / folder).rglob("*.py")
    )
    counted = set(re.findall(r"(?:count\(|counters\[|counted\[)\"(\w+)\"", code))
    counted |= set(re.findall(r'^[A-Z_]+ = "(\w+)"$', text(ROOT / "session" / "gate.py"), re.MULTILINE))
    assert len(counted) > 15
    assert sorted(name for name in counted if f"`{name}`" not in page("operations.md")) == []


def test_every_reason_to_close_is_explained() -> None:
    reasons = set(get_args(CloseReason))
    assert {"hangup", "no_worker", "caller_too_slow"} <= reasons
    assert sorted(name for name in reasons if f"`{name}`" not in page("operations.md")) == []


def test_every_decision_is_numbered_in_turn() -> None:
    numbers = [int(path.name[:4]) for path in sorted((ROOT / "docs" / "adr").glob("*.md"))]
    assert numbers == list(range(1, len(numbers) + 1))
    for path in (ROOT / "docs" / "adr").glob("*.md"):
        assert text(path).startswith(f"# {int(path.name[:4])}. "), path.name
        assert all(f"\n## {part}\n" in text(path) for part in ("Context", "Decision", "Consequences")), path.name
