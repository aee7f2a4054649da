"""A lock installs the same files everywhere: every line is pinned and hashed, and names no place to fetch from."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
LOCK, PEER = ((ROOT / "requirements" / name).read_text(encoding="utf-8") for name in ("lock.txt", "peer.txt"))
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]

ENTRY = re.compile(
    r"^(?P<name>[a-z0-9-]+)==(?P<version>[^ ;]+)(?: ; [^\\]+)? \\\n"  # the pin, perhaps with a platform
    r"(?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+",  # every file that may be installed for it
    re.M,
)
PINS = {entry["name"]: entry["version"] for entry in ENTRY.finditer(LOCK)}


both = pytest.mark.parametrize("lock", [pytest.param(LOCK, id="lock"), pytest.param(PEER, id="peer")])


@both
def test_every_line_is_a_pin_a_hash_or_a_remark(lock: str) -> None:
    assert ENTRY.search(lock)
    rest = [line for line in ENTRY.sub("", lock).splitlines() if line and not line.lstrip().startswith("#")]
    assert rest == []


@both
def test_it_names_no_place(lock: str) -> None:
    assert (
        re.findall(r"https?://|file://|git\+|--index-url|--extra-index-url|--find-links|--trusted-host|@ ", lock) == []
    )


def test_it_satisfies_what_the_project_asks_for() -> None:
    asked = [Requirement(line) for lines in (PROJECT["dependencies"], *EXTRAS.values()) for line in lines]
    for requirement in asked:
        name = canonicalize_name(requirement.name)
        if name != PROJECT["name"]:
            assert name in PINS, f"{name}: run `make lock`"
            assert requirement.specifier.contains(PINS[name]), f"{name}: run `make lock`"


def test_it_is_resolved_with_every_extra() -> None:
    chosen = re.search(r"^EXTRAS := (.+)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M)
    assert chosen is not None
    assert sorted(chosen[1].split()) == sorted(EXTRAS.keys() - {"all"})
    assert Requirement(EXTRAS["all"][0]).extras == EXTRAS.keys() - {"all", "dev", "docs", "testing"}
