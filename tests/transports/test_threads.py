"""What Python keeps of the SDK's threads; it hangs on the inside of the SDK, so a new version of it may end this."""

import pytest

from schemas.events import TurnEnded
from tests.transports.building import Building, hum
from transports.livekit import threads

GRACE_S = 1.0


@pytest.mark.asyncio(loop_scope="module")
async def test_a_thread_that_brings_events_is_known_from_the_first_one_on(building: Building) -> None:
    async with building.call() as call:
        await call.heard.until(TurnEnded)
        call.visitor.say(hum(0.4))
        await call.heard.until(TurnEnded, 2)
    assert threads.kept
    assert len(set(threads.kept)) == len(threads.kept) < threads.MAX_KEPT  # a state undone would be kept anew
