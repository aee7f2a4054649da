"""Tests that hear and speak in real time, on a machine whose host may give its processors to others meanwhile.

One marked `realtime` that fails is run anew, at most twice, if the host took the processor while it ran (steal in
proc(5)): its bounds stay, and are held where they can be measured. On a machine of its own a test has one try. The
summary tells what was run anew, and what had failed: only a slow moment shows some mistakes.
"""

import pytest
from _pytest.runner import runtestprotocol

from bench.measure import Theft

STOLEN_AT_MOST = 0.1  # of a core, on average; in quiet hours it is 0.01 to 0.03
TIMES = 2

_anew = pytest.StashKey[list[str]]()
_theft = pytest.StashKey[Theft]()  # of a file: what is heard once for several tests is heard in the first


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
    """Run it, and once more by the same hook, so that the time a test may take is counted anew."""
    if item.get_closest_marker("realtime") is None:
        return None
    before = item.stash.setdefault(_anew, [])
    if not before:
        item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    file = item.getparent(pytest.Module) or item
    theft = Theft()
    of_file = file.stash.setdefault(_theft, theft)
    reports = runtestprotocol(item, log=False, nextitem=nextitem)
    stolen_cores = max(theft.cores, of_file.cores)
    failed = next((report for report in reports if report.failed), None)
    if failed and stolen_cores > STOLEN_AT_MOST and len(before) < TIMES:
        told = f"{item.nodeid} was run anew, the host had taken {stolen_cores:.2f} of a core: {_why(failed)}"
        before.append(told)
        item.config.stash.setdefault(_anew, []).append(told)
        item.session._setupstate.teardown_exact(None)  # what it is made of is made anew as well
        del file.stash[_theft]
        return bool(item.ihook.pytest_runtest_protocol(item=item, nextitem=nextitem))
    for report in reports:
        item.ihook.pytest_runtest_logreport(report=report)
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Name them."""
    told = config.stash.get(_anew, [])
    if told:
        terminalreporter.section("run anew")
        for line in told:
            terminalreporter.line(line)


def _why(failed: pytest.TestReport) -> str:
    crash = getattr(failed.longrepr, "reprcrash", None)
    return str(crash.message if crash else failed.longrepr).partition("\n")[0]
