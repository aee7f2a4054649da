"""The hooks before a commit run this project's own tools, and fetch nothing."""

import re
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
[REPO] = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"]
HOOKS: list[dict[str, Any]] = REPO["hooks"]
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")


def test_nothing_is_fetched() -> None:
    assert REPO["repo"] == "local"
    assert {hook["language"] for hook in HOOKS} == {"system"}
    assert not any("additional_dependencies" in hook for hook in HOOKS)


@pytest.mark.parametrize("hook", HOOKS, ids=lambda hook: hook["id"])
def test_a_hook_runs_what_is_there(hook: dict[str, Any]) -> None:
    program, *words = hook["entry"].split()
    if program == "make":
        verbs = [word for word in words if not word.startswith("-")]
        assert verbs
        assert [verb for verb in verbs if f"\n{verb}:" not in MAKEFILE] == []
    else:
        assert Path(program).parent == Path(".venv/bin")
        assert Path(sys.executable).with_name(Path(program).name).exists()


def test_whatever_make_check_looks_at_is_looked_at_before_a_commit() -> None:
    recipe = re.search(r"^check:.*\n((?:\t.*\n)+)", MAKEFILE, re.MULTILINE)
    assert recipe is not None
    checks = [line.strip().removeprefix("@$(BIN)/").removesuffix(" --check") for line in recipe[1].splitlines()]
    assert len(checks) >= 4
    entries = [hook["entry"].removeprefix(".venv/bin/").removesuffix(" --fix") for hook in HOOKS]
    assert [check for check in checks if check not in entries] == []
