"""Whether a room's server answers. The SDK says that it does not after 15 s, which is too long for a call.

A caller who says nothing is not a cut: both ends of a connection check each other every 2 to 3 s, whatever is said.
What comes is no sign: it goes on when only our side is lost on the way, and then nobody in the room hears us.
"""

import asyncio

from livekit import rtc

LOOK_EVERY_S = 3.0  # a look costs 1.5 ms of a core
MISSED = 2  # looks without a new answer: the link has been cut for 6 to 9 s


async def until_cut(room: rtc.Room) -> None:
    """Return when nothing was answered for so long, whether or not the SDK tries to connect anew."""
    missed = 0
    before = None
    while missed < MISSED:
        await asyncio.sleep(LOOK_EVERY_S)
        answers = await _answers(room)
        missed = missed + 1 if answers == before else 0
        before = answers


async def _answers(room: rtc.Room) -> int:
    """To our checks of the connections of today; 0 while there are none."""
    try:
        async with asyncio.timeout(LOOK_EVERY_S):
            stats = await room.get_rtc_stats()
    except (RuntimeError, TimeoutError):  # it is being connected anew
        return 0
    pairs = [
        told.candidate_pair.candidate_pair
        for told in (*stats.publisher_stats, *stats.subscriber_stats)
        if told.HasField("candidate_pair")
    ]
    return sum(pair.responses_received for pair in pairs)
