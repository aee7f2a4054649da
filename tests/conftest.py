"""What every test shares: how hard Hypothesis looks, what Ctrl-C means to the processes that tests start, real time."""

import signal

from hypothesis import settings

from stages.runtime.context import StageContext
from tests.kit.realtime import pytest_runtest_protocol, pytest_terminal_summary

__all__ = ["pytest_runtest_protocol", "pytest_terminal_summary"]  # pytest looks for them here

# An event that a stage does not list in `publishes` raises here; in production it is counted.
StageContext.strict = True

# Started in the background by a shell, we are told to ignore SIGINT, and so would all our children be.
signal.signal(signal.SIGINT, signal.default_int_handler)

# No deadline for one example: the machine that runs the tests is shared, and a slow moment is no fault of the code.
settings.register_profile("antiphon", deadline=None, print_blob=True)
settings.load_profile("antiphon")
