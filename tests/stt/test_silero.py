"""The model: many callers in one run."""

from pathlib import Path

import pytest

from antiphon_testing.speech import recording, silence
from stages.stt.silero import WINDOW_BYTES, Memory, Run, load, probabilities
from stages.stt.voice_activity import ON

ROUNDS = 60  # 1.9 s: the state has to be right all along
CALLERS = 7


@pytest.fixture
def run(weights: Path) -> Run:
    pytest.importorskip("onnxruntime")
    return load(weights)


def windows(pcm: bytes) -> list[bytes]:
    return [pcm[at : at + WINDOW_BYTES] for at in range(0, ROUNDS * WINDOW_BYTES, WINDOW_BYTES)]


def test_a_batch_gives_each_caller_the_probabilities_of_a_run_alone(run: Run) -> None:
    speech = recording("two_cities")
    callers = [windows(speech[number * 100_000 :]) for number in range(CALLERS)]
    alone = [
        [probabilities(run, [memory], [each])[0] for each in caller] for caller in callers for memory in [Memory()]
    ]
    memories = [Memory() for _ in callers]
    batched = [probabilities(run, memories, together) for together in zip(*callers, strict=True)]
    for number, caller in enumerate(alone):
        assert caller == pytest.approx([row[number] for row in batched], abs=1e-4)
    assert max(map(max, alone)) > ON


def test_silence_beside_a_speaking_caller_is_not_speech(run: Run) -> None:
    memories = [Memory(), Memory()]
    rows = [
        probabilities(run, memories, [quiet, loud])
        for quiet, loud in zip(windows(silence(3)), windows(recording("beckett")[20_000:]), strict=True)
    ]
    assert max(quiet for quiet, _ in rows) < 0.1
    assert max(loud for _, loud in rows) > 0.9
