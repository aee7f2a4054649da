"""What the SDK's native side is spared; it hangs on the inside of the SDK, so a new version of it may end this."""

import logging
import subprocess
import sys

import pytest

from antiphon_testing.command import ROOT
from schemas.events import SessionClosed, TurnEnded
from tests.transports.livekit.building import Building, hum
from transports.livekit import native

GRACE_S = 1.0
WITH_DEBUG = """
import logging
from telemetry.logs import configure
from transports.livekit import native

configure("debug")
native.reduce_callbacks()
assert logging.getLogger("livekit").isEnabledFor(logging.DEBUG)
assert native.drop_info not in logging.getLogger().filters
"""


@pytest.mark.asyncio(loop_scope="module")
async def test_a_thread_that_brings_events_is_known_from_the_first_one_on(building: Building) -> None:
    async with building.call() as call:
        await call.heard.until(TurnEnded)
        call.visitor.say(hum(0.4))
        await call.heard.until(TurnEnded, 2)
    assert native.kept
    assert len(set(native.kept)) == len(native.kept) < native.MAX_KEPT  # a state undone would be kept anew


@pytest.mark.asyncio(loop_scope="module")
async def test_what_the_sdk_logs_does_not_come_to_python(building: Building, monkeypatch: pytest.MonkeyPatch) -> None:
    came: list[object] = []
    monkeypatch.setattr("livekit.rtc._ffi_client.to_python_level", came.append)  # asked for every line that comes
    async with building.call() as call:
        await call.heard.until(TurnEnded)
        call.visitor.say(hum(0.4))
        await call.heard.until(TurnEnded, 2)
    assert not came

    native.deliver_logs(True)  # they are there, and come where they are wanted
    try:
        async with building.call() as call:
            await call.heard.until(TurnEnded)
    finally:
        native.deliver_logs(False)
    assert came


@pytest.mark.asyncio(loop_scope="module")
async def test_without_debug_the_sdk_logs_no_line_below_a_warning(
    building: Building, caplog: pytest.LogCaptureFixture
) -> None:
    def lines() -> list[str]:
        sdk = (record for record in caplog.records if "/livekit/rtc/" in record.pathname)
        return [record.getMessage() for record in sdk if record.levelno < logging.WARNING]

    async def talk() -> None:
        async with building.call() as call:
            await call.heard.until(TurnEnded)
            call.visitor.say(hum(0.4))
            await call.heard.until(TurnEnded, 2)
        await call.heard.until(SessionClosed)

    caplog.set_level(logging.INFO)
    await talk()
    assert lines() == []

    logging.getLogger().removeFilter(native.drop_info)
    try:
        await talk()
    finally:
        logging.getLogger().addFilter(native.drop_info)
    assert len([line for line in lines() if "lk.transcription" in line]) >= 4  # ingress reads no captions


def test_with_debug_the_sdk_logs_every_line() -> None:
    assert subprocess.run([sys.executable, "-c", WITH_DEBUG], cwd=ROOT).returncode == 0
