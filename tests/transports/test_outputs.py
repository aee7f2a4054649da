"""The doors, before anybody comes through."""

import subprocess
import sys

from antiphon_testing.command import ROOT

LOADED = """
import sys, stages.egress.stage, stages.ingress.stage, transports
sys.exit(any(name.partition(".")[0] == "livekit" for name in sys.modules))
"""


def test_a_worker_without_rooms_does_not_load_what_rooms_need() -> None:
    assert subprocess.run([sys.executable, "-c", LOADED], cwd=ROOT).returncode == 0
