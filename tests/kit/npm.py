"""Packages of npm for a test: what a package-lock.json names, in a folder of the test's own."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

WITHIN_S = 100.0  # a few small packages over a slow line
OFFLINE = re.compile(r"\b(ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|ENETUNREACH)\b")

needs_node = pytest.mark.skipif(
    not (shutil.which("node") and shutil.which("npm")),
    reason="node and npm are not installed: apt-get install nodejs npm",
)


def ci(folder: Path) -> None:
    """`npm ci` in `folder`; skips the test, with the reason, where no registry can be reached."""
    done = subprocess.run(
        ["npm", "ci", "--ignore-scripts", "--prefer-offline", "--no-audit", "--no-fund"],
        cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=WITHIN_S,
    )  # fmt: skip
    if done.returncode and OFFLINE.search(done.stderr):
        pytest.skip("npm reaches no registry")
    assert done.returncode == 0, done.stderr
