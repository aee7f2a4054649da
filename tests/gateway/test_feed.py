"""What a page is told of its call: everything once, in order, or plainly that it was too slow."""

import asyncio
import json
from itertools import count
from typing import Any

import msgspec
import pytest

from gateway.feed import MAX_KEPT, Behind, Feed
from schemas import events
from schemas.events import Event, Owner

OPENED = events.SessionOpened(
    owners={"stt": Owner("w", 1)},
    coordinator="c",
    transport="websocket",
    started_us=1,
    config={"prompt": "secret words"},
)


NUMBERS = count()


def stamped(event: Event) -> Event:
    """As a stage publishes it, after all before."""
    return msgspec.structs.replace(event, session="s", agent="desk", epoch=1, seq=next(NUMBERS))


def say(feed: Feed, *call_events: Event) -> None:
    for event in call_events:
        feed.receive(stamped(event))


async def told(feed: Feed, after: int = 0) -> list[dict[str, Any]]:
    return [json.loads(entry.text) async for entry in feed.read(after)]


async def test_a_page_hears_every_fact_and_what_it_adds_up_to() -> None:
    feed = Feed()
    say(
        feed,
        OPENED,
        events.TranscriptInterim(utterance=0, text="When", start_sample=0, until_sample=1),
        events.TurnStarted(turn=2, answers=-1, text="When?", time=5_000),
        events.PlaybackStarted(turn=2, time=305_000),
        events.SessionClosed(reason="hangup"),
    )
    messages = await told(feed)
    assert [message["event"]["event"].partition(".")[2] for message in messages] == [
        "session_opened", "transcript_interim", "turn_started", "playback_started", "session_closed"
    ]  # fmt: skip
    assert [message["state"] for message in messages] == ["listening", "listening", "thinking", "speaking", "listening"]
    assert messages[3]["waterfall"]["total_ms"] == 300


async def test_who_calls_is_not_told_how_the_agent_is_made() -> None:
    feed = Feed()
    say(feed, OPENED, events.SessionClosed(reason="hangup"))
    assert "secret" not in json.dumps(await told(feed))
    assert "owners" not in (await told(feed))[0]["event"]


async def test_an_event_that_comes_twice_is_shown_once() -> None:
    feed = Feed()
    opened = stamped(OPENED)
    for event in (opened, opened):
        feed.receive(event)
    feed.close()
    assert len(await told(feed)) == 1


async def test_what_was_said_before_anybody_listened_comes_first() -> None:
    feed = Feed()
    first, second, third = (stamped(events.TextReceived(text=text, number=1)) for text in ("one", "two", "three"))
    feed.hold()
    feed.receive(second)
    feed.receive(third)
    feed.release([first, second])
    feed.close()
    assert [message["event"]["text"] for message in await told(feed)] == ["one", "two", "three"]


async def test_who_comes_back_goes_on_where_it_was() -> None:
    feed = Feed()
    say(feed, OPENED, events.TurnStarted(turn=1, answers=-1), events.SessionClosed(reason="hangup"))
    assert [message["event"]["event"] for message in await told(feed, after=2)] == ["ingress.session_closed"]


async def test_a_reader_waits_for_what_comes() -> None:
    feed = Feed()
    reading = asyncio.create_task(told(feed))
    await asyncio.sleep(0)
    say(feed, OPENED)
    await asyncio.sleep(0)
    say(feed, events.SessionClosed(reason="hangup"))
    assert len(await asyncio.wait_for(reading, 10)) == 2


async def test_a_reader_that_is_too_slow_is_told_so_and_the_feed_stays_small() -> None:
    feed = Feed()
    reading = feed.read()
    say(feed, OPENED)
    assert (await anext(reading)).number == 1
    for number in range(MAX_KEPT + 2):
        say(feed, events.TextReceived(text="x", number=number))
    with pytest.raises(Behind, match="behind"):
        await anext(reading)
    assert len(feed._kept) == MAX_KEPT
