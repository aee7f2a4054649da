"""The picture of a call shows what happened when."""

from pathlib import Path

import msgspec
import numpy
import pytest
from PIL import Image

from antiphon_testing.recording import Recording
from cli import picture
from schemas import events
from schemas.audio import AGENT_HZ, CALLER_HZ
from schemas.events import Event

STARTED = 1_700_000_000_000_000


def at(seconds: float) -> int:
    return STARTED + int(seconds * 1_000_000)


def numbered(*call_events: Event) -> list[Event]:
    seen: dict[str, int] = {}
    said = []
    for event in call_events:
        seq = seen.get(events.stage(event), 0)
        seen[events.stage(event)] = seq + 1
        said.append(msgspec.structs.replace(event, session="s1", agent="desk", seq=seq))
    return said


CALL = numbered(
    events.SessionOpened(owners={}, coordinator="c", transport="websocket", started_us=STARTED, config={}),
    events.SpeechStarted(utterance=0, start_sample=CALLER_HZ),
    events.SpeechEnded(utterance=0, until_sample=2 * CALLER_HZ),
    events.TranscriptFinal(
        utterance=0, text="it costs $5 or $6 \u2014 _no_?", start_sample=0, until_sample=1, time=at(2.3)
    ),
    events.TurnStarted(turn=2, answers=0, time=at(2.35)),
    events.SentenceReady(turn=2, segment=0, text="Five dollars, and", last=True, first_token_ms=100, time=at(2.5)),
    events.SegmentSynthesized(turn=2, segment=0, duration_ms=3_000, first_audio_ms=100),
    events.PlaybackStarted(turn=2, time=at(2.75)),
    events.Paused(turn=2, segment=0, heard_ms=900, utterance=1, time=at(4)),
    events.Resumed(turn=2, heard_ms=900, utterance=1, time=at(4.5)),
    events.Paused(turn=2, segment=0, heard_ms=1_900, utterance=2, time=at(5.5)),
    events.PlaybackEnded(turn=2, heard_ms=1_900, interrupted=True, time=at(5.75)),
    events.TurnEnded(turn=2, heard="Five dollars", interrupted=True),
)


def recorded(seconds: int, loud: bool = True) -> Recording:
    recording = Recording()
    one = (b"\x00\x30\x00\xd0" if loud else bytes(4)) * (CALLER_HZ // 2)
    recording.sent(one * seconds)
    recording.heard((one * 2)[: AGENT_HZ * 2] * seconds)
    return recording


def test_the_scene_of_a_call() -> None:
    scene = picture.stage(CALL)
    assert scene.agent == "desk"
    assert scene.caller_spans == [picture.Span(1.0, 2.0, "it costs $5 or $6 \u2014 _no_?")]
    assert scene.agent_spans == [picture.Span(2.75, 5.75, "Five dollars", cut=True)]
    assert scene.holds == [(4.0, 4.5), (5.5, 5.75)]
    assert [(began, falls.total_ms) for began, falls in scene.falls] == [(2.0, 750)]


def test_a_hold_before_the_answer_is_heard_is_not_drawn() -> None:
    call_events = numbered(
        CALL[0],
        events.TurnStarted(turn=2, answers=0, time=at(1)),
        events.Paused(turn=2, segment=0, heard_ms=0, utterance=1, time=at(1.1)),
        events.Resumed(turn=2, heard_ms=0, utterance=1, time=at(1.5)),
    )
    assert picture.stage(call_events).holds == []


@pytest.mark.parametrize(("seconds", "rows"), [(1, 1), (30, 1), (70, 3), (1_200, picture.MAX_ROWS)])
def test_a_picture_of_any_length_is_as_wide_and_never_endless(tmp_path: Path, seconds: int, rows: int) -> None:
    path = tmp_path / "call.png"
    with recorded(seconds) as recording:
        picture.draw(path, recording, CALL)
    with Image.open(path) as image:
        assert image.size == (
            picture.WIDTH_PX,
            picture.HEAD_PX + picture.FOOT_PX + rows * picture.ROW_PX,
        )


def test_words_that_begin_at_the_end_of_a_row_are_written_in_the_next(tmp_path: Path) -> None:
    seconds = int(2 * picture.ROW_S)
    late = events.SpeechStarted(utterance=0, start_sample=int((seconds / 2 - 0.5) * CALLER_HZ))
    ended = events.SpeechEnded(utterance=0, until_sample=int((seconds / 2 + 1.5) * CALLER_HZ))
    final = events.TranscriptFinal(
        utterance=0, text="are you open on Saturdays", start_sample=0, until_sample=1, time=at(seconds / 2)
    )
    with recorded(seconds, loud=False) as recording:
        picture.draw(tmp_path / "call.png", recording, numbered(CALL[0], late, ended, final))
        picture.draw(tmp_path / "none.png", recording, numbered(CALL[0], late, ended))
    assert inked(tmp_path / "call.png", picture.CALLER) > inked(tmp_path / "none.png", picture.CALLER)


def inked(path: Path, colour: str) -> int:
    """Pixels that have exactly this colour."""
    wanted = [int(colour[index : index + 2], 16) for index in (1, 3, 5)]
    with Image.open(path) as image:
        return int((numpy.asarray(image.convert("RGB")) == wanted).all(axis=2).sum())


def test_holds_interruptions_and_waits_are_seen_where_there_are_any(tmp_path: Path) -> None:
    with recorded(8, loud=False) as recording:
        picture.draw(tmp_path / "call.png", recording, CALL)
        picture.draw(tmp_path / "none.png", recording, CALL[:1])
    for colour in (picture.HOLD, picture.CUT, *picture.STEPS.values()):
        assert inked(tmp_path / "call.png", colour) > inked(tmp_path / "none.png", colour)


def test_a_call_that_never_opened_has_a_picture_too(tmp_path: Path) -> None:
    with Recording() as recording:
        picture.draw(tmp_path / "call.png", recording, [])
    assert (tmp_path / "call.png").stat().st_size > 0
