"""A call whose caller is a script: loud is speech, silent is silence."""

from pathlib import Path

import pytest

import stages.stt.stage
from antiphon_testing.caller_pattern import CallerPattern, frames
from antiphon_testing.stage import Call, call, worker
from antiphon_testing.virtual_time import in_virtual_time
from schemas.audio import CALLER_HZ
from schemas.events import SpeechEnded, SpeechStarted, TranscriptFinal, TranscriptInterim
from stages.runtime.providers import ProviderContext, ProviderError, Providers
from stages.stt.contract import RecognizerProvider
from stages.stt.loudness import LoudnessDetector

FRAME = 320
SILENT = bytes(2 * FRAME)
LOUD = (3_000).to_bytes(2, "little") * FRAME
HALF = SILENT[:FRAME] + LOUD[:FRAME]  # silent for 160 samples, then loud
RUSTLE = (300).to_bytes(2, "little") * FRAME  # below 1 % of full scale


def scripted(**options: object) -> dict[str, object]:
    return {"stt": {"provider": "scripted", "options": options}}


async def play(caller: Call, *frames: bytes, start: int = 0) -> None:
    """The frames in real time, the first at sample `start`."""
    for index, frame in enumerate(frames):
        caller.hear_audio(frame, at=start + index * FRAME)
        await caller.wait_ms(20)


@in_virtual_time
async def test_an_utterance_lasts_from_the_first_loud_sample_to_the_last() -> None:
    async with call(stages.stt.stage, scripted(texts=["Hello there."])) as caller:
        await play(caller, SILENT, HALF, LOUD, SILENT, SILENT)
        final = await caller.publishes(TranscriptFinal)
    assert [(event.utterance, event.start_sample) for event in caller.published(SpeechStarted)] == [(0, FRAME + 160)]
    ended = caller.published(SpeechEnded)[0]
    assert (ended.until_sample, ended.silence_ms, ended.final_within_ms) == (3 * FRAME, 20, 100)
    assert (final.text, final.start_sample, final.until_sample, final.end_of_turn) == (
        "Hello there.",
        FRAME + 160,
        3 * FRAME,
        True,
    )


@in_virtual_time
async def test_texts_come_in_turn_and_again() -> None:
    async with call(stages.stt.stage, scripted(texts=["one", "", "three"])) as caller:
        for number in range(4):
            await play(caller, LOUD, SILENT, start=number * 2 * FRAME)
            await caller.publishes(TranscriptFinal, utterance=number)
    assert [final.text for final in caller.published(TranscriptFinal)] == ["one", "", "three", "one"]


@in_virtual_time
async def test_the_final_takes_its_time() -> None:
    async with call(stages.stt.stage, scripted(final_ms=700)) as caller:
        await play(caller, LOUD, SILENT)
        await caller.wait_ms(670)
        assert caller.published(TranscriptFinal) == []
        await caller.wait_ms(20)
        assert len(caller.published(TranscriptFinal)) == 1


@in_virtual_time
async def test_an_interim_comes_while_the_caller_speaks_and_not_after() -> None:
    async with call(stages.stt.stage, scripted(texts=["long", "short"], interim_ms=100, final_ms=500)) as caller:
        await play(caller, *[LOUD] * 6, SILENT, LOUD, *[SILENT] * 10)
        await caller.publishes(TranscriptFinal, utterance=1)
    assert [interim.text for interim in caller.published(TranscriptInterim)] == ["long"]


@in_virtual_time
async def test_rustling_below_a_hundredth_of_full_scale_is_silence() -> None:
    async with call(stages.stt.stage, scripted()) as caller:
        await play(caller, *[RUSTLE] * 10)
    assert caller.events == []


@in_virtual_time
async def test_a_hang_up_in_the_middle_of_a_word_loses_no_words() -> None:
    async with call(stages.stt.stage, scripted(texts=["Wait"], final_ms=5_000)) as caller:
        await play(caller, LOUD, LOUD)
    assert [type(event) for event in caller.events] == [SpeechStarted, SpeechEnded, TranscriptFinal]


@pytest.mark.parametrize("options", [{"texts": []}, {"final_ms": -1}, {"language": "en"}, {"ends_turn": "perhaps"}])
async def test_an_option_that_makes_no_sense_is_named(options: dict[str, object]) -> None:
    async with Providers[RecognizerProvider]("stt", ProviderContext()) as providers:
        provider = await providers.get("scripted")
        opening = provider.open(options, LoudnessDetector())
        with pytest.raises(ProviderError, match=next(iter(options))):
            await opening.__aenter__()


# --- with the silero engine -------------------------------------------------------------------------------------------


async def test_silero_finds_words_and_not_noise(weights: Path) -> None:
    pattern = CallerPattern(speech_ms=600, every_ms=1_200, turns=2, start_ms=500, linger_ms=600)
    heard = scripted(texts=["one", "two"])
    context = ProviderContext(weights=weights, vad="silero")
    async with worker(stages.stt.stage, context) as running, running.call(heard) as caller:
        for number in range(50):
            caller.hear_audio(LOUD, at=number * FRAME)  # as loud as speech, but a hum
        for number, frame in enumerate(frames(pattern), start=50):
            caller.hear_audio(frame, at=number * FRAME)
        await caller.publishes(TranscriptFinal, utterance=1)
    begun = [event.start_sample / CALLER_HZ for event in caller.published(SpeechStarted)]
    ended = [event.until_sample / CALLER_HZ for event in caller.published(SpeechEnded)]
    assert begun == pytest.approx([1.5, 2.7], abs=0.1)
    assert ended == pytest.approx([2.1, 3.3], abs=0.1)
    assert [final.text for final in caller.published(TranscriptFinal)] == ["one", "two"]


async def test_words_at_the_end_of_the_line_are_not_lost(weights: Path) -> None:
    heard = scripted(texts=["and so"])
    context = ProviderContext(weights=weights, vad="silero")
    async with worker(stages.stt.stage, context) as running, running.call(heard) as caller:
        for number, frame in enumerate(frames(CallerPattern(linger_ms=0, every_ms=520))):
            caller.hear_audio(frame, at=number * FRAME)
        await caller.publishes(SpeechStarted)
    assert [final.text for final in caller.published(TranscriptFinal)] == ["and so"]
