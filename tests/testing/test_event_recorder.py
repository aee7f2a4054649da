"""Recorded events, by session and by kind."""

import asyncio
from pathlib import Path

import pytest

from antiphon_testing.bus import running_bus
from antiphon_testing.event_recorder import EventRecorder, SessionEvents, record_events
from schemas import events, subjects
from schemas.events import PlaybackStarted, SpeechStarted


def started(session: str) -> PlaybackStarted:
    return PlaybackStarted(session=session, agent="desk", turn=1)


def test_events_of_other_sessions_are_left_out() -> None:
    recorded = SessionEvents()
    for session in ("s1", "s2", "s1"):
        recorded.receive(started(session))
    recorded.only("s1")
    recorded.receive(started("s2"))
    assert [event.session for event in recorded.all(PlaybackStarted)] == ["s1", "s1"]
    assert recorded.tags == ["egress.playback_started"] * 2


async def test_an_event_is_waited_for_and_its_absence_names_what_came() -> None:
    recorded = SessionEvents("s1")
    waiting = asyncio.create_task(recorded.until(PlaybackStarted, 2))
    await asyncio.sleep(0)
    recorded.receive(started("s1"))
    recorded.receive(started("s1"))
    assert (await waiting).session == "s1"
    with pytest.raises(TimeoutError, match=r"no SpeechStarted 1 of session 's1'; came: egress\.playback_started"):
        await recorded.until(SpeechStarted, within_s=0.01)


async def test_a_recorder_keeps_sessions_apart() -> None:
    recorder = EventRecorder()
    for session in ("s1", "s2", "s1"):
        recorder.receive(started(session))
    assert recorder.of("s3", PlaybackStarted) == []
    assert recorder.sessions == ["s1", "s2"]
    assert len(recorder.of("s1", PlaybackStarted)) == 2
    assert await recorder.until("s2", PlaybackStarted) == started("s2")


async def test_events_on_the_bus_are_recorded_and_rubbish_is_skipped(tmp_path: Path) -> None:
    async with running_bus(tmp_path) as bus, record_events(bus) as recorder:
        subject = subjects.event("desk", "s1", "egress.playback_started")
        bus.publish(subject, b"rubbish")
        bus.publish(subject, events.encode(started("s1")))
        assert await recorder.until("s1", PlaybackStarted) == started("s1")
