"""What a stage may publish, and in what order."""

import pytest

from antiphon_testing.stage import Outbox
from schemas import events
from schemas.events import LlmStageFailed, SpeechEnded, SpeechStarted, SttStageFailed, TranscriptInterim
from stages.runtime.context import StageContext, UnlistedEvent


def context(outbox: Outbox) -> StageContext:
    return StageContext("stt", "s1", "agent1", 7, outbox, (SpeechStarted, TranscriptInterim))


def test_an_event_is_stamped_and_numbered_by_plane() -> None:
    outbox = Outbox()
    stt = context(outbox)
    stt.publish(SpeechStarted(utterance=0, start_sample=0))
    stt.publish(TranscriptInterim(utterance=0, text="o", start_sample=0, until_sample=1))
    last = stt.publish(SpeechStarted(utterance=1, start_sample=2))
    assert [(event.session, event.agent, event.epoch, event.seq) for event in outbox.events] == [
        ("s1", "agent1", 7, 0),
        ("s1", "agent1", 7, 0),
        ("s1", "agent1", 7, 1),
    ]
    assert outbox.events[-1] == last


def test_an_event_that_is_not_listed_raises_in_tests() -> None:
    outbox = Outbox()
    with pytest.raises(UnlistedEvent, match=r"cannot publish stt\.speech_ended: stage stt does not list it"):
        context(outbox).publish(SpeechEnded(utterance=0, until_sample=0))
    assert outbox.events == []


def test_an_event_that_is_not_listed_is_published_and_counted_in_production(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(StageContext, "strict", False)
    outbox = Outbox()
    stt = context(outbox)
    for number in range(2):
        stt.publish(SpeechEnded(utterance=number, until_sample=0))
    assert [events.tag(event) for event in outbox.events] == ["stt.speech_ended"] * 2
    assert stt.counters == {"unlisted_event": 2}


def test_a_stage_may_always_publish_that_it_failed_and_never_that_another_did() -> None:
    outbox = Outbox()
    stt = context(outbox)
    stt.publish(SttStageFailed(reason="failed"))
    assert len(outbox.events) == 1
    with pytest.raises(UnlistedEvent):
        stt.publish(LlmStageFailed(reason="failed"))
