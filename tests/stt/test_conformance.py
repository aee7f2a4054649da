"""The recognizers of this repository keep the contract."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from antiphon_testing.conformance.recognizer import RecognizerConformance, Subject, broken_rules
from antiphon_testing.speech import recording, silence
from schemas.audio import CALLER_HZ
from schemas.events import Event, SpeechEnded, SpeechStarted, TranscriptFinal, TranscriptInterim
from stages.runtime.providers import ProviderContext, ProviderError
from stages.stt.contract import SpeechDetector
from stages.stt.providers import scripted
from stages.stt.silero_engine import open_silero

SPEECH = silence(0.3) + (3_000).to_bytes(2, "little") * CALLER_HZ + silence(0.6)


class TestScripted(RecognizerConformance):
    @pytest.fixture
    async def subject(self) -> AsyncIterator[Subject]:
        async with scripted.open_provider(ProviderContext()) as provider:
            yield Subject(provider, {"texts": ["Hello."], "interim_ms": 10, "final_ms": 20}, SPEECH, haste=20)


@pytest.mark.realtime
class TestLocal(RecognizerConformance):
    """The models are loaded for each test: one of the tests makes them fail."""

    @pytest.fixture
    async def subject(self, weights: Path) -> AsyncIterator[Subject]:
        from stages.stt.providers import local

        async with local.open_provider(ProviderContext()) as provider, open_silero(weights) as engine:
            recognizers = provider._scheduler._owners

            def fail() -> None:
                for recognizer in list(recognizers):
                    recognizer.fail(ProviderError("server", "moonshine: out of memory"))

            def voice() -> SpeechDetector:
                return engine.open(print)

            speech = recording("beckett")[: 2 * 2 * CALLER_HZ] + silence(0.6)
            yield Subject(provider, {"language": "en"}, speech, fail, voice, haste=4)


STARTED = SpeechStarted(utterance=0, start_sample=0)
ENDED = SpeechEnded(utterance=0, until_sample=9)
LAST = TranscriptFinal(utterance=0, text="", start_sample=0, until_sample=9)
PART = TranscriptFinal(utterance=0, text="", start_sample=0, until_sample=9, last=False)
INTERIM = TranscriptInterim(utterance=0, text="", start_sample=0, until_sample=9)
NEXT = SpeechStarted(utterance=1, start_sample=10)


@pytest.mark.parametrize(
    ("events", "rule"),
    [
        ([STARTED, INTERIM, ENDED, LAST], ""),
        ([STARTED, PART, ENDED, TranscriptFinal(utterance=0, text="", start_sample=9, until_sample=9, part=1)], ""),
        ([STARTED, ENDED], "no last part"),
        ([STARTED, PART, ENDED], "no last part"),
        ([STARTED, ENDED, LAST, LAST], "behind its last"),
        ([STARTED, PART, ENDED, LAST], "part 0 of utterance 0 instead of 1"),
        ([STARTED, ENDED, LAST, INTERIM], "not open"),
        ([LAST], "has not started"),
        ([STARTED, NEXT], "before the one before it has ended"),
        ([STARTED, ENDED, LAST, SpeechStarted(utterance=2, start_sample=10)], "numbered"),
        ([STARTED, LAST], "ended"),
    ],
)
def test_a_broken_rule_is_named(events: list[Event], rule: str) -> None:
    broken = broken_rules(events)
    assert bool(broken) == bool(rule)
    assert rule in " / ".join(broken)
