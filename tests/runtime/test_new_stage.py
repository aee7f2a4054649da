"""A stage that is added by the steps of CONTRIBUTING.md alone takes part in a call."""

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
WITHIN_S = 60.0
REASONS = "schemas/events/ingress.py"


class Edit(NamedTuple):
    """A text in a file of the tree, and what a step of CONTRIBUTING.md makes of it."""

    file: str
    before: str
    after: str


EDITS = (
    Edit("schemas/subjects.py", "STAGES = (INGRESS, ", 'STAGES = (INGRESS, "mood", '),
    Edit("schemas/subjects.py", "CLAIMED = (", 'CLAIMED = ("mood", '),
    Edit(
        "schemas/events/__init__.py",
        "from schemas.events.stt import",
        "from schemas.events.mood import MoodJudged, MoodStageFailed\nfrom schemas.events.stt import",
    ),
    Edit("schemas/events/__init__.py", "AnyEvent = (\n", "AnyEvent = (\n    MoodJudged\n    | MoodStageFailed |\n"),
    Edit(
        "schemas/events/ingress.py", '    "stt_failed",\n', '    "stt_failed",\n    "mood_failed",\n    "mood_lost",\n'
    ),
    Edit(
        "schemas/events/ingress.py", '    "stt": "stt_failed",', '    "mood": "mood_failed",\n    "stt": "stt_failed",'
    ),
    Edit("schemas/events/ingress.py", '    "stt": "stt_lost",', '    "mood": "mood_lost",\n    "stt": "stt_lost",'),
)
EVENTS = '''
"""Events of mood."""

from schemas.events.envelope import Event, StageFailed


class MoodJudged(Event, tag="mood.mood_judged", frozen=True):
    """mood: of the caller's words."""

    mood: str


class MoodStageFailed(StageFailed, tag="mood.stage_failed", frozen=True):
    """The mood stage ended the session because of an error."""
'''
STAGE = '''
"""Judges the mood of each transcript."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import ClassVar

from schemas.events import Event, TranscriptFinal
from schemas.events.mood import MoodJudged
from stages.runtime.context import StageContext
from stages.runtime.providers import Provider, Providers
from stages.runtime.stage import handles


class Mood:
    """The moods of one session."""

    publishes: ClassVar[tuple[type[Event], ...]] = (MoodJudged,)

    def __init__(self, context: StageContext) -> None:
        self._context = context

    @handles(TranscriptFinal)
    def judge(self, final: TranscriptFinal) -> None:
        self._context.publish(MoodJudged(mood="good" if "thank" in final.text else "plain"))


STAGE = Mood


@asynccontextmanager
async def open_worker(providers: Providers[Provider]) -> AsyncIterator[None]:
    yield None


@asynccontextmanager
async def open_session(context: StageContext, shared: None) -> AsyncIterator[Mood]:
    yield Mood(context)
'''
CALL = """
import asyncio
import sys
from pathlib import Path

from antiphon_testing.agents import scripted_agent
from antiphon_testing.platform import open_platform
from schemas.events import SessionClosed, SessionOpened
from schemas.events.mood import MoodJudged


async def call() -> None:
    agent = scripted_agent("desk", stt={"texts": ["thank you"]}, llm={"replies": ["You are welcome."]})
    async with open_platform(Path(sys.argv[1]), [agent]) as platform:
        events = await platform.simulated_call("desk", turns=1)
        closed = await events.until(SessionClosed)
    print(closed.reason, sorted(events.all(SessionOpened)[0].owners), [event.mood for event in events.all(MoodJudged)])


asyncio.run(call())
"""


def test_the_steps_of_contributing_add_a_stage_that_runs(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    for package in PYPROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]:
        shutil.copytree(ROOT / package, tree / package, ignore=shutil.ignore_patterns("__pycache__", "node_modules"))
    for file, before, after in EDITS:
        path = tree / file
        code = path.read_text(encoding="utf-8")
        assert before in code, f"{file} has no {before!r} any more: look at the steps in CONTRIBUTING.md"
        path.write_text(code.replace(before, after, 1), encoding="utf-8")
    (tree / "schemas" / "events" / "mood.py").write_text(EVENTS.lstrip(), encoding="utf-8")
    (tree / "stages" / "mood").mkdir()
    (tree / "stages" / "mood" / "__init__.py").write_text('"""Judges moods."""\n', encoding="utf-8")
    (tree / "stages" / "mood" / "stage.py").write_text(STAGE.lstrip(), encoding="utf-8")
    (tree / "call.py").write_text(CALL.lstrip(), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "call.py", str(tmp_path / "data")],
        cwd=tree, env={**os.environ, "PYTHONPATH": str(tree)},
        capture_output=True, text=True, timeout=WITHIN_S, check=False,
    )  # fmt: skip
    assert done.stdout.strip().splitlines()[-1:] == ["hangup ['egress', 'llm', 'mood', 'stt', 'tts'] ['good']"], (
        done.stderr[-2_000:]
    )
