"""Notices when a room's server stops answering. The SDK takes 15 s for that, which is too long for a call.

Both ends of a connection check each other every 2 to 3 s, even in silence, so a silent caller is no cut. Received audio
is no sign of a link: it continues when only the direction to the server is cut, and then the room hears no agent.
"""

import asyncio

from livekit import rtc

LOOK_EVERY_S = 3.0  # a look costs 1.5 ms of a core
MISSED = 2  # looks without a new answer: the link has been cut for 6 to 9 s by then


async def until_cut(room: rtc.Room) -> None:
    """Return when the server has answered no check for 6 to 9 s, whether or not the SDK tries to reconnect."""
    missed = 0
    before = None
    while missed < MISSED:
        await asyncio.sleep(LOOK_EVERY_S)
        answers = await _answers(room)
        missed = missed + 1 if answers == before else 0
        before = answers


async def _answers(room: rtc.Room) -> int:
    """Return how many checks of the present connections were answered; 0 without a connection."""
    try:
        async with asyncio.timeout(LOOK_EVERY_S):
            stats = await room.get_rtc_stats()
    except (RuntimeError, TimeoutError):  # the SDK reconnects
        return 0
    pairs = [
        stat.candidate_pair.candidate_pair
        for stat in (*stats.publisher_stats, *stats.subscriber_stats)
        if stat.HasField("candidate_pair")
    ]
    return sum(pair.responses_received for pair in pairs)
