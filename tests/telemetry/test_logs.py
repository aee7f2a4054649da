"""What stands in the logs."""

import subprocess
import sys

from antiphon_testing.command import ROOT

PART = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9"
SAYS = f"""
import logging
from telemetry.logs import configure

configure()
logging.getLogger("livekit").error("401: invalid token: %s, it is expired", "{PART}.{PART}.{PART}")
"""
CHATTER = """
import logging
from telemetry.logs import QUIET, configure

configure()
for name in QUIET:
    logging.getLogger(name).info("a connection was opened")
    logging.getLogger(f"{name}.inner").info("a connection was opened")
    logging.getLogger(name).warning("a connection was lost")
print(len(QUIET))
"""


def test_libraries_log_warnings_only() -> None:
    told = subprocess.run([sys.executable, "-c", CHATTER], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "opened" not in told.stderr
    assert told.stderr.count("a connection was lost") == int(told.stdout)


def test_a_token_that_a_library_logs_is_left_out() -> None:
    told = subprocess.run([sys.executable, "-c", SAYS], cwd=ROOT, capture_output=True, text=True, check=True).stderr
    assert "it is expired" in told
    assert PART not in told


def test_a_command_logs_warnings_alone_and_keeps_standard_output_for_data() -> None:
    says = """
import structlog
from telemetry.logs import configure_command

log = structlog.get_logger("bus")
configure_command()
log.info("connected")
log.warning("nats error", error="TimeoutError")
"""
    ran = subprocess.run([sys.executable, "-c", says], cwd=ROOT, capture_output=True, text=True, check=True)
    assert ran.stdout == ""
    assert "nats error" in ran.stderr
    assert "TimeoutError" in ran.stderr
    assert "connected" not in ran.stderr
