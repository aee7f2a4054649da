"""The import contracts of pyproject.toml are real: each turns red when someone breaks it."""

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
LINTER: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]

# contract -> files added to a copy of the tree, the last of which imports what it must not
BREAKS = {
    "layers": {"cli/intruder.py": "import bench.measure"},
    "checkout": {"bench/intruder.py": "import tests.kit.npm"},
    "stages": {"stages/stt/intruder.py": "import stages.tts"},
    "pure": {"session/intruder.py": "import time"},
    "config": {"config_service/inside.py": "", "stages/stt/intruder.py": "import config_service.inside"},
    "nats": {"stages/stt/intruder.py": "import nats"},
    "transports": {"transports/livekit/intruder.py": "import stages.ingress.owners"},
    "livekit": {"stages/ingress/intruder.py": "import transports.livekit.tokens"},
    "vendors": {"stages/llm/providers/intruder.py": "import xllamacpp"},
}


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the packages and their contracts."""
    copy = tmp_path_factory.mktemp("tree")
    shutil.copy(ROOT / "pyproject.toml", copy)
    for package in LINTER["root_packages"]:
        shutil.copytree(ROOT / package, copy / package, ignore=shutil.ignore_patterns("__pycache__"))
    return copy


def lint(tree: Path, contract: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache", "--contract", contract],
        cwd=tree,
        env={**os.environ, "PYTHONPATH": str(tree), "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_every_contract_is_tried_here() -> None:
    assert sorted(contract["id"] for contract in LINTER["contracts"]) == sorted(BREAKS)


@pytest.mark.parametrize("contract", BREAKS)
def test_a_contract_holds_until_it_is_broken(tree: Path, contract: str) -> None:
    kept = lint(tree, contract)
    assert kept.returncode == 0, kept.stdout
    for name, code in BREAKS[contract].items():
        (tree / name).write_text(f"{code}\n", encoding="utf-8")
    try:
        broken = lint(tree, contract)
    finally:
        for name in BREAKS[contract]:
            (tree / name).unlink()
    assert broken.returncode == 1
    assert "1 broken" in broken.stdout
    assert "intruder" in broken.stdout
