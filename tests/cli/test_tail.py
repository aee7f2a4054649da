"""A line of `antiphon tail` as a person reads it."""

import pytest

from cli.tail import fields
from schemas import events
from schemas.events import Event


@pytest.mark.parametrize(
    ("event", "line"),
    [
        (events.SpeechStarted(utterance=0, start_sample=512), "utterance 0  start 0.03 s"),
        (
            events.TranscriptFinal(utterance=3, text="At [nine]?", start_sample=16_000, until_sample=48_000),
            'utterance 3  "At [nine]?"  start 1.00 s  until 3.00 s  last',
        ),
        (events.PlaybackEnded(turn=2, heard_ms=3_465, interrupted=True), "heard 3.46 s  interrupted  turn 2"),
        (events.TurnEnded(turn=2, heard="At nine."), '"At nine."  turn 2'),
        (
            events.SessionOpened(
                owners={}, coordinator="0123456789abcdef", transport="websocket", started_us=1, config={"id": "desk"}
            ),
            "coordinator 01234567  transport websocket",
        ),
        (events.SessionClosed(reason="hangup"), "reason hangup"),
    ],
)
def test_times_are_seconds_and_documents_are_left_out(event: Event, line: str) -> None:
    assert fields(event) == line
