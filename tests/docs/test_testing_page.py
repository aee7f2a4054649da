"""The test that docs/testing.md shows is a whole one: it runs as the page says."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from antiphon_testing.command import ROOT
from antiphon_testing.environment import inherited

PAGE = ROOT / "docs" / "testing.md"
WITHIN_S = 90.0


@pytest.mark.realtime
def test_the_example_of_the_page_passes(tmp_path: Path) -> None:
    found = re.search(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert found is not None
    (tmp_path / "test_desk.py").write_text(found[1], encoding="utf-8")
    assert "pytest -o asyncio_mode=auto test_desk.py" in PAGE.read_text(encoding="utf-8")
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-o", "asyncio_mode=auto", "-p", "no:cacheprovider", "test_desk.py"],
        cwd=tmp_path, env={**inherited(), "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=WITHIN_S,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout
    assert "1 passed" in ran.stdout


def test_every_part_that_the_page_names_is_there() -> None:
    named = re.findall(r"`(antiphon_testing/[\w/]+\.py)`", PAGE.read_text(encoding="utf-8"))
    assert [path for path in named if not (ROOT / path).exists()] == []
    assert len(named) > 5
