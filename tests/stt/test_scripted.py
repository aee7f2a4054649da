"""A call whose caller is a script: loud is speech, silent is silence."""

import pytest

import stages.stt.stage
from schemas.events import SpeechEnded, SpeechStarted, TranscriptFinal, TranscriptInterim
from stages.providers import ProviderContext, ProviderError, Providers
from tests.kit.clock import in_virtual_time
from tests.kit.stage import Call, call

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
        final = await caller.says(TranscriptFinal)
    assert [(fact.utterance, fact.at) for fact in caller.said(SpeechStarted)] == [(0, FRAME + 160)]
    ended = caller.said(SpeechEnded)[0]
    assert (ended.at, ended.silence_ms, ended.final_within_ms) == (3 * FRAME, 20, 100)
    assert (final.text, final.start, final.until, final.ends_turn) == ("Hello there.", FRAME + 160, 3 * FRAME, True)


@in_virtual_time
async def test_texts_come_in_turn_and_again() -> None:
    async with call(stages.stt.stage, scripted(texts=["one", "", "three"])) as caller:
        for number in range(4):
            await play(caller, LOUD, SILENT, start=number * 2 * FRAME)
            await caller.says(TranscriptFinal, utterance=number)
    assert [final.text for final in caller.said(TranscriptFinal)] == ["one", "", "three", "one"]


@in_virtual_time
async def test_the_final_takes_its_time() -> None:
    async with call(stages.stt.stage, scripted(final_ms=700)) as caller:
        await play(caller, LOUD, SILENT)
        await caller.wait_ms(670)
        assert caller.said(TranscriptFinal) == []
        await caller.wait_ms(20)
        assert len(caller.said(TranscriptFinal)) == 1


@in_virtual_time
async def test_an_interim_comes_while_the_caller_speaks_and_not_after() -> None:
    async with call(stages.stt.stage, scripted(texts=["long", "short"], interim_ms=100, final_ms=500)) as caller:
        await play(caller, *[LOUD] * 6, SILENT, LOUD, *[SILENT] * 10)
        await caller.says(TranscriptFinal, utterance=1)
    assert [interim.text for interim in caller.said(TranscriptInterim)] == ["long"]


@in_virtual_time
async def test_rustling_below_a_hundredth_of_full_scale_is_silence() -> None:
    async with call(stages.stt.stage, scripted()) as caller:
        await play(caller, *[RUSTLE] * 10)
    assert caller.facts == []


@in_virtual_time
async def test_whoever_hangs_up_in_the_middle_of_a_word_is_still_heard() -> None:
    async with call(stages.stt.stage, scripted(texts=["Wait"], final_ms=5_000)) as caller:
        await play(caller, LOUD, LOUD)
    assert [type(fact) for fact in caller.facts] == [SpeechStarted, SpeechEnded, TranscriptFinal]


@pytest.mark.parametrize("options", [{"texts": []}, {"final_ms": -1}, {"language": "en"}, {"ends_turn": "perhaps"}])
async def test_an_option_that_makes_no_sense_is_named(options: dict[str, object]) -> None:
    async with Providers("stt", ProviderContext()) as providers:
        provider = await providers.get("scripted")
        opening = provider.open(options, print)
        with pytest.raises(ProviderError, match=next(iter(options))):
            await opening.__aenter__()
