"""The audio of a simulated caller follows its pattern."""

import pytest

from antiphon_testing.caller_pattern import SILENT_FRAME, CallerPattern, frames, simulate, vowels
from schemas.audio import CALLER_FRAME_BYTES, FRAME_MS


def test_speech_and_silence_come_as_the_pattern_says() -> None:
    pattern = CallerPattern(speech_ms=100, every_ms=200, turns=2, start_ms=40, linger_ms=60)
    audio = list(frames(pattern))
    loud = [frame != SILENT_FRAME for frame in audio]
    turn = [True] * 5 + [False] * 5
    assert loud == [False] * 2 + turn * 2 + [False] * 3
    assert {len(frame) for frame in audio} == {CALLER_FRAME_BYTES}
    assert len(audio) * FRAME_MS == 500


def test_the_vowels_differ() -> None:
    assert len(set(vowels())) == len(vowels()) == 3


def test_options_of_a_claim_are_checked() -> None:
    assert next(simulate({"turns": 1, "start_ms": 20})) == SILENT_FRAME
    with pytest.raises(ValueError, match="volume"):
        simulate({"volume": 3})
