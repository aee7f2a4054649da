"""What stands in the logs."""

import subprocess
import sys

from tests.kit.command import ROOT

PART = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9"
SAYS = f"""
import logging
from telemetry.logs import configure

configure()
logging.getLogger("livekit").error("401: invalid token: %s, it is expired", "{PART}.{PART}.{PART}")
"""


def test_a_token_that_a_library_logs_is_left_out() -> None:
    told = subprocess.run([sys.executable, "-c", SAYS], cwd=ROOT, capture_output=True, text=True, check=True).stderr
    assert "it is expired" in told
    assert PART not in told
