"""Signs, codes and addresses, voiced by the local voice and read again by the local recogniser."""

from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING

import numpy as np
import pytest
import soxr

from antiphon_testing.wer import spelled, word_error_rate
from schemas.audio import AGENT_HZ, CALLER_HZ
from stages.runtime.providers import ProviderContext
from stages.tts.contract import speak_text

if TYPE_CHECKING:
    from stages.stt.providers.local import Moonshine
    from stages.tts.providers.local import Local

pytestmark = pytest.mark.local

voice = pytest.importorskip("stages.tts.providers.local", reason="pip install -e '.[local]'")
recognizer = pytest.importorskip("stages.stt.providers.local", reason="pip install -e '.[local]'")

AT_MOST = 0.2  # of the words of one sentence, as the recogniser errs: one word in five

# What is written, and how the recogniser writes down the words.
READ = [
    ("I think that 2*3*4 is 24.", "I think that two times three times four is twenty four."),
    ("Press * and then press #.", "Press star and then press pound."),
    ("It was ~~forty~~ fifty dollars.", "It was fifty dollars."),
    ("We know that 3 < 5 & 7 > 6.", "We know that three less than five and seven greater than six."),
    ("You have v1.0.0 of it.", "You have version 1.0.0 of it."),
    ("Please write to anna@example.com today.", "Please write to anna at example.com today."),
    ("You find it at https://www.example.com/help.", "You find it at example.com/help."),
    ("It takes ~5 minutes.", "It takes about five minutes."),
    ("The room is 10 x 12 feet.", "The room is 10 by 12 feet."),
    ("This one is 10x faster.", "This one is 10 times faster."),
    ("We're open Mon-Fri 8am-6pm.", "We're open Monday to Friday 8 a.m. to 6 p.m."),
    ("It costs $10-$20 per person.", "It costs $10 to $20 per person."),
    ("You pay $60/month for it.", "You pay $60 per month for it."),
    ("Please call (415) 555-0142.", "Please call 415-555-0142."),
    ("The order number 48213 is ready.", "The order number 48213 is ready."),
    ("It is -5 degrees outside today.", "It is minus five degrees outside today."),
    ("Ask for room No. 5, e.g. tomorrow.", "Ask for room number 5, for example tomorrow."),
    ("The house has 120 m² and a garden.", "The house has 120 square meters and a garden."),
    ("You need 5 1/2 cups of flour.", "You need five and one half cups of flour."),
    ("He is 5'10\" tall.", "He is five foot ten tall."),
    ("Salt & pepper are free 👍🏽.", "Salt and pepper are free."),
    ("We are closed on Dec. 25, 2026.", "We are closed on December 25th, 2026."),
    ("The fee is $12.50, or 20% less.", "The fee is $12.50 or 20% less."),
    ("The Jan–Mar rates are lower.", "The January to March rates are lower."),
]


@pytest.fixture
async def speaker() -> "AsyncIterator[Local]":
    async with voice.open_provider(ProviderContext()) as opened:
        yield opened


@pytest.fixture
def reader() -> "Iterator[Moonshine]":
    moonshine = recognizer.Moonshine()
    yield moonshine
    moonshine.close()


async def test_a_listener_hears_the_words(speaker: "Local", reader: "Moonshine") -> None:
    wrong = {}
    for text, words in READ:
        async with speaker.open({}) as one:
            pcm = b"".join([chunk.pcm async for chunk in speak_text(one, text)])
        samples = soxr.resample(np.frombuffer(pcm, "<i2").astype("f4"), AGENT_HZ, CALLER_HZ)
        heard = reader.transcribe(np.clip(samples, -32_768, 32_767).astype("<i2").tobytes())
        heard = heard.removesuffix(" Thank you.")  # the recogniser's invention in the silence at the end
        if word_error_rate(spelled(words), spelled(heard)) > AT_MOST:
            wrong[text] = heard
    assert wrong == {}
