"""A test of real time has one try, and more only where the host took the processor: then the summary tells."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
ROBBED = "measure.stolen_s = time.monotonic"  # of one core all the time
ITS_OWN = "measure.stolen_s = lambda: 0.0"
STORY = """
import time
import pytest
from bench import measure

{host}
pytestmark = pytest.mark.realtime
made = []

@pytest.fixture(scope="module")
def attempt():
    made.append(None)
    return len(made)

def test_story(attempt):
    assert attempt == {good}, "was late"
"""


def run(folder: Path, host: str, *good: int) -> str:
    """What pytest says of tests of which that numbered N passes at its attempt number N."""
    paths = [folder / f"test_{attempt}.py" for attempt in good]
    for path, attempt in zip(paths, good, strict=True):
        path.write_text(STORY.format(host=host, good=attempt), encoding="utf-8")
    plugins = ("-p", "tests.kit.realtime", "-p", "no:cacheprovider")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *plugins, *paths],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    return done.stdout


def test_it_is_run_anew_twice_with_all_that_it_is_made_of_and_the_summary_says_why(tmp_path: Path) -> None:
    told = run(tmp_path, ROBBED, 3, 4)
    assert "1 failed, 1 passed" in told
    for attempt in (3, 4):
        assert told.count(f"test_{attempt}.py::test_story was run anew, the host had taken") == 2
    assert "AssertionError: was late" in told


def test_on_a_machine_of_its_own_it_has_one_try(tmp_path: Path) -> None:
    told = run(tmp_path, ITS_OWN, 2)
    assert "1 failed" in told
    assert "run anew" not in told
