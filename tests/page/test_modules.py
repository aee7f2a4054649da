"""The pure modules of the talk page, tried by node."""

import subprocess
from pathlib import Path

from tests.kit import npm

pytestmark = npm.needs_node
WITHIN_S = 60.0


def test_the_modules_do_what_they_say() -> None:
    stories = Path(__file__).with_name("modules.test.mjs")
    done = subprocess.run(["node", "--test", stories], capture_output=True, text=True, timeout=WITHIN_S)
    assert done.returncode == 0, done.stdout
