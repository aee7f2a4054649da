"""Somebody with LiveKit's own SDK talks to the agent in a real room: all words are right on both sides, from the first.

The figures behind it: `python -m bench.room_words`.
"""

import pytest

pytest.importorskip("livekit", reason="the extra livekit is not installed: pip install -e '.[livekit]'")

from antiphon_testing.room_server import binary
from antiphon_testing.speech import BECKETT
from antiphon_testing.wer import spelled, word_error_rate, words
from bench.first_words import BRIEF, first_words
from bench.room_harness import open_room_harness
from bench.room_words import READER, REPLY, visited

pytestmark = [pytest.mark.local, pytest.mark.realtime]


async def test_a_stranger_is_understood_and_understands() -> None:
    binary()
    async with open_room_harness(BRIEF, READER) as rooms:
        call = await visited(rooms, "beckett")  # human voices, one after the other: what a crowd hears is another story
        openings = await first_words(rooms, 2)
    assert word_error_rate(BECKETT, call.shown) <= 0.12, call.shown
    assert call.told == REPLY
    assert word_error_rate(spelled(REPLY), spelled(call.heard)) <= 0.15, call.heard
    assert words(call.heard)[:2] == words(REPLY)[:2]
    assert [first for firsts in openings.values() for first in firsts if first.lost_by in ("ingress", "stt")] == []
