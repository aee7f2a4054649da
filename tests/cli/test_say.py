"""`antiphon say`: a recording that `antiphon call` and the example of a caller take."""

import json
import wave
from importlib.util import find_spec
from pathlib import Path

import pytest

from antiphon_testing.command import antiphon


@pytest.mark.local
@pytest.mark.skipif(find_spec("hibari") is None, reason="the local voice is not installed: pip install -e '.[local]'")
async def test_a_question_becomes_a_recording(tmp_path: Path) -> None:
    target = tmp_path / "question.wav"
    told = await antiphon("say", "When are you open on Saturday?", "--out", target)
    assert (told.code, told.err) == (0, "")
    assert f"antiphon call {target}" in told.out
    with wave.open(str(target)) as wav:
        assert wav.getparams()[:3] == (1, 2, 16_000)
        assert 4.5 + 1 < wav.getnframes() / 16_000 < 4.5 + 4
        assert wav.readframes(int(4.5 * 16_000)) == bytes(int(4.5 * 32_000)), "silence, for the greeting"
    told = await antiphon("say", "When are you open on Saturday?", "--out", target, "--after", 0, "--json")
    assert 1 < json.loads(told.out)["seconds"] < 4
    told = await antiphon("say", "...", "--out", tmp_path / "silent.wav")
    assert (told.code, told.out) == (1, "")
    assert "the local voice makes no sound of it" in told.err
    assert not (tmp_path / "silent.wav").exists()


@pytest.mark.parametrize(
    ("text", "name", "complaint"),
    [
        ("  ", "a.wav", "cannot say 0 characters: give 1 to 2,000"),
        ("a" * 2_001, "a.wav", "cannot say 2001 characters"),
        ("Hello", "nowhere/a.wav", "does not exist. Make it first."),
        ("Hello", ".", "is a folder"),
    ],
)
async def test_what_cannot_be_said_or_written_is_refused(tmp_path: Path, text: str, name: str, complaint: str) -> None:
    told = await antiphon("say", text, "--out", tmp_path / name)
    assert told.code == 2
    assert complaint in told.err
    assert told.err.count("\n") == 1
