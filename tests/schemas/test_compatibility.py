"""Whoever reads the first release reads today's, and the other way round: fields are added, each with a default."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from docs import asyncapi
from tests.schemas import compatibility

ROOT = Path(__file__).parents[2]


class Break(NamedTuple):
    """An edit of a file of the protocol, and the problems that must be reported."""

    file: str
    before: str
    after: str
    said: tuple[str, ...]


BREAKS = {
    "a renamed field": Break(
        "schemas/events/stt.py",
        "    start_sample: int\n\n\nclass SpeechEnded",
        "    until_sample: int\n\n\nclass SpeechEnded",
        ("`SpeechStarted.start_sample` is gone", "`SpeechStarted.until_sample` is new and has no default"),
    ),
    "a removed field": Break(
        "schemas/events/stt.py",
        "    final_within_ms: int = 400\n",
        "",
        ("`SpeechEnded.final_within_ms` is gone", "`stt.speech_ended.final_within_ms` was 1004 and is read as null"),
    ),
    "a new required field": Break(
        "schemas/events/llm.py",
        "    heard: str\n",
        "    heard: str\n    segment: int\n",
        ("`TurnEnded.segment` is new and has no default", "`llm.turn_ended` is no longer read: "),
    ),
    "another type": Break(
        "schemas/events/tts.py",
        "    duration_ms: int\n",
        "    duration_ms: float\n",
        (
            '`SegmentSynthesized.duration_ms` was {"type": "integer", "x-unit": "ms"}',
            "`tts.segment_synthesized.duration_ms` was 1002 and is read as 1002.0",
        ),
    ),
    "a field that may now be nothing": Break(
        "schemas/events/llm.py",
        "    answers: int\n",
        "    answers: int | None\n",
        ('`TurnStarted.answers` was {"type": "integer"}',),
    ),
    "a default taken away": Break(
        "schemas/events/llm.py", "    last: bool = False\n", "    last: bool\n", ("`SentenceReady.last` was ",)
    ),
    "another default": Break("schemas/events/egress.py", '] = "decided"', '] = "timeout"', ("`Resumed.reason` was ",)),
    "another unit": Break(
        "docs/fields.py",
        '    "start_sample": SAMPLES',
        '    "start_sample": "ms"',
        ("`TranscriptFinal.start_sample` was ",),
    ),
    "an event that no stage publishes": Break(
        "schemas/events/__init__.py",
        "    | EgressStageFailed\n",
        "",
        (
            "`egress.stage_failed` is no longer said on the channel `event`",
            "`egress.stage_failed` is no longer among what `egress.publishes_event` says",
            "`EgressStageFailed` is gone",
            "`egress.stage_failed` is no longer read: ",
        ),
    ),
    "another subject": Break(
        "schemas/subjects.py",
        "{ROOT}.event.",
        "{ROOT}.happened.",
        ("the channel `event` was at va1.event.{agent}.{session}.{stage}.{event}",),
    ),
    "another flag": Break(
        "schemas/media.py", "LAST_OF_TURN = 4", "LAST_OF_TURN = 16", ("the flag `last_of_turn` of `Frame` was 4",)
    ),
    "another prefix": Break(
        "schemas/media.py", '"<BBHIIIIQ"', '"<BBHIIIQI"', ("`media.agent` is no longer read: rate ",)
    ),
    "another prefix, told": Break(
        "schemas/media.py",
        "20      u64   at ",
        "20      u64   place ",
        ("the prefix of `Frame` had `at` at 20 as u64",),
    ),
    "another answer": Break(
        "schemas/control.py",
        '    "full",\n',
        '    "busy",\n',
        ("`Claimed.refused` was ", "`SessionOffer.refused` was "),
    ),
    "another field of a request": Break(
        "schemas/config.py", '    after: str = ""\n', '    behind: str = ""\n', ("`ListAgents.after` is gone",)
    ),
    "another encoding": Break(
        "docs/channels.py", "application/x-msgpack", "application/cbor", ("`Claimed` was application",)
    ),
}

ADDED = (
    ("schemas/events/stt.py", "silence_ms: int = 0\n", "silence_ms: int = 0\n    loudness_db: float = 0.0\n"),
    (
        "schemas/events/envelope.py",
        "    start_ms: int\n    end_ms: int\n",
        "    start_ms: int\n    end_ms: int\n    sure: float = 1.0\n",
    ),
    (
        "schemas/events/__init__.py",
        "\n\nAnyEvent = (\n",
        '\n\nclass Laughed(Event, tag="stt.laughed", frozen=True):\n    """The caller laughed."""\n\n'
        "    start_sample: int\n"
        "\n\nAnyEvent = (\n    Laughed |\n",
    ),
)


def changes(folder: Path, edits: list[tuple[str, str, str]]) -> str:
    """Return the problems that are found in a copy of the protocol with these edits, held to a release of today's."""
    for package in ("schemas", "docs"):
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__", "images"))
    tests = folder / "tests" / "schemas"
    release = tests / "released" / "0.1.0"
    shutil.copytree(Path(compatibility.__file__).parent / "golden", release / "golden")
    (release / "asyncapi.json").write_text(asyncapi.text(), encoding="utf-8")
    shutil.copy(compatibility.__file__, tests)
    for name, before, after in edits:
        file = folder / name
        code = file.read_text(encoding="utf-8")
        assert before in code, f"{name} has no {before!r} any more: break something else"
        file.write_text(code.replace(before, after, 1), encoding="utf-8")
    command = [sys.executable, "-m", "tests.schemas.compatibility"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60)
    assert (done.returncode != 0) == bool(done.stderr.strip())
    return done.stderr


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A copy with everything broken at once: what is said about it names each."""
    return changes(tmp_path_factory.mktemp("broken"), [way[:3] for way in BREAKS.values()])


def test_each_release_is_whole() -> None:
    for release in compatibility.RELEASED.glob("*/"):
        assert (release / "asyncapi.json").is_file()
        assert len(list((release / "golden").glob("*.json"))) >= 40


def test_nothing_of_a_release_is_broken() -> None:
    assert compatibility.problems() == []


@pytest.mark.parametrize("what", BREAKS)
def test_what_breaks_a_reader_is_noticed(what: str, broken: str) -> None:
    for said in BREAKS[what].said:
        assert f"\n0.1.0: {said}" in f"\n{broken}"


def test_what_is_only_added_is_welcome(tmp_path: Path) -> None:
    assert changes(tmp_path, list(ADDED)) == ""
