"""The local voice, the real one, heard again by the local recogniser."""

import re
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import soxr

from antiphon_testing.wer import word_error_rate
from schemas.audio import AGENT_HZ, CALLER_HZ
from stages.runtime.providers import ProviderContext, ProviderError
from stages.tts.contract import speak_text

if TYPE_CHECKING:
    from stages.tts.providers.local import Local

local = pytest.importorskip("stages.tts.providers.local", reason="pip install -e '.[local]'")
moonshine = pytest.importorskip("moonshine_voice.transcriber", reason="pip install -e '.[local]'")

# What is written, and how the recogniser writes down the same words.
READ = [
    ("We're open Monday to Friday from 8 am to 6 pm.", "we're open monday to friday from eight am to six pm"),
    ("We open Mon-Fri 8am-6pm.", "we open monday to friday eight am to six pm"),
    ("The bridge opens at 9:30 in the morning.", "the bridge opens at nine thirty in the morning"),
    (
        "A check-up costs $60, and a filling costs £120.",
        "a checkup costs sixty dollars and a filling costs one hundred twenty pounds",
    ),
    (
        "We're at 24 Mill Street, right next to the library.",
        "we're at twenty four mill street right next to the library",
    ),
    ("Outside opening hours, call 555 0142.", "outside opening hours call five five five zero one four two"),
    ("Our dentists are Dr. Maria Lopez and Dr. James Chen.", "our dentists are dr maria lopez and dr james chen"),
    (
        "I'm sorry, I don't have that here, but I can connect you with a colleague.",
        "i'm sorry i don't have that here but i can connect you with a colleague",
    ),
]
_ONES = "zero one two three four five six seven eight nine ten eleven twelve".split()
_TENS = {"20": "twenty", "24": "twenty four", "60": "sixty", "120": "one hundred twenty", "30": "thirty"}


@pytest.fixture
async def provider() -> "AsyncIterator[Local]":
    async with local.open_provider(ProviderContext()) as opened:
        yield opened


async def say(provider: "Local", text: str, **options: Any) -> list[bytes]:
    async with provider.open(dict(options)) as voice:
        return [chunk.pcm async for chunk in speak_text(voice, text) if chunk.pcm]


async def test_what_it_says_is_understood(provider: "Local") -> None:
    import moonshine_voice

    model = Path(moonshine_voice.__file__).parent / "assets" / "tiny-en"
    transcriber = moonshine.Transcriber(model, moonshine_voice.ModelArch.TINY)
    heard = []
    for text, _ in READ:
        samples = np.frombuffer(b"".join(await say(provider, text)), "<i2") / 32768
        lines = transcriber.transcribe_without_streaming(
            soxr.resample(samples, AGENT_HZ, CALLER_HZ).tolist(), CALLER_HZ
        )
        heard.append(as_words(" ".join(line.text for line in lines.lines)))
    transcriber.close()
    rate = word_error_rate(" ".join(words for _, words in READ), " ".join(heard))
    assert rate <= 0.15, f"{rate:.1%} of {heard}"


async def test_the_first_phrase_of_a_long_answer_is_heard_early(provider: "Local") -> None:
    long = (
        "If you're in pain, we'll see you the same day, and if it's very bad come straight in. Please call before ten."
    )
    first, *rest = await say(provider, long)
    assert len(rest) == 2
    assert len(first) < sum(map(len, rest)) / 2


async def test_it_begins_with_a_sound(provider: "Local") -> None:
    for piece in await say(provider, "Yes, we're taking new patients. Please come early."):
        loud = np.flatnonzero(np.abs(np.frombuffer(piece, "<i2").astype(int)) > 100)
        assert loud[0] < AGENT_HZ * 40 // 1000


async def test_the_same_words_always_make_the_same_sound(provider: "Local") -> None:
    assert await say(provider, "Hello, this is Harbor Dental.") == await say(provider, "Hello, this is Harbor Dental.")


@pytest.mark.parametrize("text", ["", "   ", "...", "😀", "—", "日本語", "***"])
async def test_what_cannot_be_said_is_silence(provider: "Local", text: str) -> None:
    assert await say(provider, text) == []


async def test_a_word_without_end_is_cut(provider: "Local") -> None:
    async with provider.open({}) as voice, aclosing(speak_text(voice, "A" * 3000)) as chunks:
        assert len((await anext(chunks)).pcm) % 2 == 0


async def test_closed_early_it_begins_no_other_phrase(provider: "Local", monkeypatch: pytest.MonkeyPatch) -> None:
    begun = []
    speak = local.Hibari.__call__

    def noted(engine: Any, text: str, **options: Any) -> Any:
        begun.append(text)
        return speak(engine, text, **options)

    monkeypatch.setattr(local.Hibari, "__call__", noted)
    async with provider.open({}) as voice, aclosing(speak_text(voice, "One. Two. Three. Four.")) as chunks:
        await anext(chunks)
    assert await say(provider, "Five.")
    assert begun == ["One.", "Five."]


async def test_an_unknown_option_is_refused_by_name(provider: "Local") -> None:
    with pytest.raises(ProviderError, match="speed"):
        await say(provider, "Hello.", speed=9)


def as_words(heard: str) -> str:
    """The recogniser writes some numbers in digits: here they are words again."""
    heard = heard.lower().replace("check-up", "checkup").replace("a.m.", "am").replace("p.m.", "pm").replace(":00", "")
    heard = re.sub(r"[$](\d+)", r"\1 dollars", heard).replace("-", " ")
    heard = re.sub(r"(\d+):(\d+)", r"\1 \2", heard)

    def spell(match: re.Match[str]) -> str:
        digits = match[0]
        if digits in _TENS:
            return _TENS[digits]
        if len(digits) <= 2 and int(digits) < len(_ONES):
            return _ONES[int(digits)]
        return " ".join(_ONES[int(digit)] for digit in digits)

    return re.sub(r"\d+", spell, heard)
