"""Whoever reads the first release reads today's, and the other way round: fields are added, each with a default."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.schemas import compatibility

ROOT = Path(__file__).parents[2]


class Break(NamedTuple):
    """What somebody might do to a file of schemas/, and the sentences that must be said about it."""

    file: str
    before: str
    after: str
    said: tuple[str, ...]


BROKEN = {
    "a renamed field": Break(
        "events.py",
        "    at: int\n\n\nclass SpeechEnded",
        "    until: int\n\n\nclass SpeechEnded",
        ("`SpeechStarted.at` is gone", "`SpeechStarted.until` is new and has no default"),
    ),
    "a removed field": Break(
        "events.py",
        "    final_within_ms: int = 400\n",
        "",
        ("`SpeechEnded.final_within_ms` is gone", "`stt.speech_ended.final_within_ms` was 1004 and is read as null"),
    ),
    "a new required field": Break(
        "events.py",
        "    heard: str\n",
        "    heard: str\n    segment: int\n",
        ("`TurnEnded.segment` is new and has no default", "`llm.turn_ended` is no longer read: "),
    ),
    "another type": Break(
        "events.py",
        "    duration_ms: int\n",
        "    duration_ms: float\n",
        (
            '`SegmentSynthesized.duration_ms` was {"type": "integer", "x-unit": "ms"}',
            "`tts.segment_synthesized.duration_ms` was 1002 and is read as 1002.0",
        ),
    ),
    "a field that may now be nothing": Break(
        "events.py",
        "    answers: int\n",
        "    answers: int | None\n",
        ('`TurnStarted.answers` was {"type": "integer"}',),
    ),
    "a default taken away": Break(
        "events.py", "    last: bool = False\n", "    last: bool\n", ("`SentenceReady.last` was ",)
    ),
    "another default": Break(
        "events.py", 'reason: str = "decided"', 'reason: str = "guessed"', ("`Resumed.reason` was ",)
    ),
    "another unit": Break("fields.py", '    "start": SAMPLES', '    "start": "ms"', ("`TranscriptFinal.start` was ",)),
    "a fact that nobody says": Break(
        "events.py",
        "    | EgressBroken\n",
        "",
        (
            "`egress.broken` is no longer said on the channel `event`",
            "`egress.broken` is no longer among what `egress.says_event` says",
            "`EgressBroken` is gone",
            "`egress.broken` is no longer read: ",
        ),
    ),
    "another subject": Break(
        "subjects.py",
        "{ROOT}.event.",
        "{ROOT}.fact.",
        ("the channel `event` was at va1.event.{agent}.{session}.{stage}.{fact}",),
    ),
    "another flag": Break(
        "media.py", "LAST_OF_TURN = 4", "LAST_OF_TURN = 16", ("the flag `last_of_turn` of `Frame` was 4",)
    ),
    "another prefix": Break("media.py", '"<BBHIIIIQ"', '"<BBHIIIQI"', ("`media.agent` is no longer read: rate ",)),
    "another prefix, told": Break(
        "media.py", "20      u64   at ", "20      u64   place ", ("the prefix of `Frame` had `at` at 20 as u64",)
    ),
    "another answer": Break(
        "control.py", '"full", "draining"', '"busy", "draining"', ("`Claimed.refused` was ", "`Line.refused` was ")
    ),
    "another field of a request": Break(
        "config.py", '    after: str = ""\n', '    behind: str = ""\n', ("`ListAgents.after` is gone",)
    ),
    "another encoding": Break(
        "channels.py", "application/x-msgpack", "application/cbor", ("`Claimed` was application",)
    ),
}

ADDED = {
    "silence_ms: int = 0\n": "silence_ms: int = 0\n    loudness_db: float = 0.0\n",
    "    start_ms: int\n    end_ms: int\n": "    start_ms: int\n    end_ms: int\n    sure: float = 1.0\n",
    "\n\nAnyFact = (\n": (
        '\n\nclass Laughed(Fact, tag="stt.laughed", frozen=True):\n    """The caller laughed."""\n\n    at: int\n'
        "\n\nAnyFact = (\n    Laughed |\n"
    ),
}


def changes(folder: Path, edits: list[tuple[str, str, str]]) -> str:
    """What is said about a copy of the protocol with these edits."""
    shutil.copytree(ROOT / "schemas", folder / "schemas", ignore=shutil.ignore_patterns("__pycache__"))
    tests = folder / "tests" / "schemas"
    shutil.copytree(compatibility.RELEASED, tests / "released")
    shutil.copy(compatibility.__file__, tests)
    for name, before, after in edits:
        file = folder / "schemas" / name
        code = file.read_text(encoding="utf-8")
        assert before in code, f"schemas/{name} has no {before!r} any more: break something else"
        file.write_text(code.replace(before, after, 1), encoding="utf-8")
    command = [sys.executable, "-m", "tests.schemas.compatibility"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60)
    assert (done.returncode != 0) == bool(done.stderr.strip())
    return done.stderr


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A copy with everything broken at once: what is said about it names each."""
    return changes(tmp_path_factory.mktemp("broken"), [way[:3] for way in BROKEN.values()])


def test_there_is_a_release_to_be_held_to() -> None:
    for release in (compatibility.RELEASED / "0.1.0", *compatibility.RELEASED.glob("*/")):
        assert (release / "asyncapi.json").is_file()
        assert len(list((release / "golden").glob("*.json"))) >= 40


def test_nothing_of_a_release_is_broken() -> None:
    assert compatibility.problems() == []


@pytest.mark.parametrize("what", BROKEN)
def test_what_breaks_a_reader_is_noticed(what: str, broken: str) -> None:
    for said in BROKEN[what].said:
        assert f"\n0.1.0: {said}" in f"\n{broken}"


def test_what_is_only_added_is_welcome(tmp_path: Path) -> None:
    edits = [("events.py", before, after) for before, after in ADDED.items()]
    assert changes(tmp_path, edits) == ""
