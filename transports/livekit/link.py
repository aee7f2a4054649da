"""Whether anything comes from a room's server. The SDK says that nothing does after 15 s, which is too long for a call.

A caller who says nothing is not a cut: both ends of a connection check each other every 2 to 3 s, whatever is said.
"""

import asyncio

from livekit import rtc

LOOK_EVERY_S = 3.0  # a look costs 1.5 ms of a core
MISSED = 2  # looks without anything new: the link has been cut for 6 to 9 s


async def until_cut(room: rtc.Room) -> None:
    """Return when nothing has come for so long, whether or not the SDK tries to connect anew."""
    missed = 0
    before = None
    while missed < MISSED:
        await asyncio.sleep(LOOK_EVERY_S)
        received = await _received(room)
        missed = missed + 1 if received == before else 0
        before = received


async def _received(room: rtc.Room) -> int:
    """Packets, checks and answers to ours that have come over the connections of today; 0 while there are none."""
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
    return sum(pair.packets_received + pair.requests_received + pair.responses_received for pair in pairs)
