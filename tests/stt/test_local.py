"""Real speech through the real recognizer, at four times the pace of a call unless lateness is the point."""

import asyncio
import gc
import weakref
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

import stages.stt.stage
from antiphon_testing.speech import BECKETT, TWO_CITIES, recording, silence
from antiphon_testing.stage import Call, Worker, worker
from antiphon_testing.wer import word_error_rate, words
from schemas.audio import CALLER_FRAME_BYTES, CALLER_HZ, FRAME_MS
from schemas.events import SpeechEnded, SpeechStarted, TranscriptFinal, TranscriptInterim
from stages.runtime.providers import ProviderContext, ProviderError, ProviderMissing
from stages.stt.loudness import LoudnessDetector
from stages.stt.voice_activity import LONGEST_GAP

pytestmark = pytest.mark.realtime

LOCAL = {"stt": {"provider": "local"}}
HASTE = 4.0
CAUGHT_UP_WITHIN_S = 30.0


async def play(call: Call, pcm: bytes, *, start: int = 0, haste: float = HASTE) -> None:
    """`pcm`, its first sample being `start` of the caller's line, `haste` times as fast as it was spoken."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    for number, sent in enumerate(range(0, len(pcm), CALLER_FRAME_BYTES), 1):
        await asyncio.sleep(began + number * FRAME_MS / 1000 / haste - loop.time())
        call.hear_audio(pcm[sent : sent + CALLER_FRAME_BYTES], at=start + sent // 2)


def transcript(call: Call) -> str:
    return " ".join(final.text for final in call.published(TranscriptFinal))


async def heard_out(call: Call, said: str) -> None:
    """Hang up only once the last word is there: a loaded machine falls behind a reader in haste."""
    with suppress(TimeoutError):  # the assertions of the test then name the missing words
        async with asyncio.timeout(CAUGHT_UP_WITHIN_S):
            while words(transcript(call))[-1:] != words(said)[-1:]:
                await asyncio.sleep(0.05)


def keeps_the_contract(call: Call) -> bool:
    """For every utterance one start, one end and one final, in that order, and nothing of it afterwards."""
    kinds: dict[int, list[type]] = {}
    for event in call.events:
        assert isinstance(event, SpeechStarted | SpeechEnded | TranscriptFinal | TranscriptInterim)
        if not isinstance(event, TranscriptInterim):
            kinds.setdefault(event.utterance, []).append(type(event))
        else:
            assert kinds[event.utterance] == [SpeechStarted]
    assert list(kinds) == list(range(len(kinds)))
    return all(said == [SpeechStarted, SpeechEnded, TranscriptFinal] for said in kinds.values())


@pytest.mark.parametrize(("name", "said", "haste"), [("two_cities", TWO_CITIES, HASTE), ("beckett", BECKETT, 2.0)])
async def test_a_human_reader_is_understood(listening: Worker, name: str, said: str, haste: float) -> None:
    async with listening.call(LOCAL) as call:
        await play(call, recording(name) + silence(1), haste=haste)
        await heard_out(call, said)
    assert word_error_rate(said, transcript(call)) <= 0.12
    heard = words(transcript(call))
    assert heard[:5] == words(said)[:5]
    assert heard[-5:] == words(said)[-5:]
    assert keeps_the_contract(call)


async def test_words_are_seen_while_they_are_spoken(listening: Worker) -> None:
    async with listening.call(LOCAL) as call:
        await play(call, recording("two_cities")[: 5 * 2 * CALLER_HZ], haste=1)
    first = call.published(TranscriptInterim)[0]
    assert first.text.startswith("It was")
    assert first.until_sample - first.start_sample < 1.5 * CALLER_HZ


async def test_a_monologue_without_a_pause_is_one_utterance_with_one_final(listening: Worker) -> None:
    speech = np.frombuffer(recording("two_cities"), "<i2")
    loud = np.convolve(np.abs(speech), np.ones(1600) / 1600, "same") > 100
    async with listening.call(LOCAL) as call:
        await play(call, silence(0.5) + speech[loud].tobytes() + silence(1), haste=2)
        await heard_out(call, TWO_CITIES)
    assert keeps_the_contract(call)
    longest = max(call.published(TranscriptFinal), key=lambda final: final.until_sample - final.start_sample)
    assert longest.until_sample - longest.start_sample > 12 * CALLER_HZ
    assert word_error_rate(TWO_CITIES, transcript(call)) <= 0.2


async def test_a_hang_up_in_the_middle_of_a_word_loses_no_words(listening: Worker) -> None:
    async with listening.call(LOCAL) as call:
        await play(call, recording("two_cities")[: 4 * 2 * CALLER_HZ])
    assert keeps_the_contract(call)
    assert words(transcript(call))[:6] == words("It was the best of times")


async def test_noise_is_neither_speech_nor_words(listening: Worker) -> None:
    random = np.random.default_rng(1)
    cough = random.standard_normal(CALLER_HZ // 5) * 0.2
    hiss = random.standard_normal(CALLER_HZ) * 10 ** (-30 / 20)
    clicks = np.zeros(CALLER_HZ)
    for at in random.integers(0, clicks.size - 160, 8):
        clicks[at : at + 160] += random.standard_normal(160) * 0.3
    async with listening.call(LOCAL) as call:
        at = 0
        for noise in (cough, hiss, clicks):
            pcm = silence(0.5) + (np.clip(noise, -1, 1) * 32_767).astype("<i2").tobytes() + silence(1)
            await play(call, pcm, start=at)
            at += len(pcm) // 2
    assert transcript(call).strip() == ""


async def test_a_caller_who_was_away_for_a_minute_is_heard_again_in_the_right_place(listening: Worker) -> None:
    word = recording("beckett")[: 2 * 2 * CALLER_HZ]
    back = 60 * CALLER_HZ
    assert back > LONGEST_GAP
    async with listening.call(LOCAL) as call:
        await play(call, word[: len(word) // 2 // 640 * 640])  # away in the middle of a word
        await play(call, word + silence(0.5), start=back)
    assert keeps_the_contract(call)
    assert words(call.published(TranscriptFinal)[1].text) == ["ever", "tried"]
    assert (
        abs(call.published(SpeechStarted)[1].start_sample - back - call.published(SpeechStarted)[0].start_sample)
        <= 2 * CALLER_HZ // 10
    )


async def test_two_callers_at_once_hear_nothing_of_each_other(listening: Worker) -> None:
    async with listening.call(LOCAL, session="a") as one, listening.call(LOCAL, session="b") as other:
        await asyncio.gather(
            play(one, recording("beckett") + silence(0.5), haste=2),
            play(other, recording("two_cities")[: 10 * 2 * CALLER_HZ], haste=2),
        )
        await heard_out(one, BECKETT)
    assert word_error_rate(BECKETT, transcript(one)) <= 0.2
    assert "times" in words(transcript(other))
    assert not {"failed", "matter"} & set(words(transcript(other)))


async def test_nothing_of_a_call_stays_when_it_is_over(listening: Worker) -> None:
    kept: weakref.WeakSet[object] = weakref.WeakSet()
    for number in range(50):
        async with listening.call(LOCAL, session=f"s{number}") as call:
            recognizer = call.stage.recognizer
            kept.update([recognizer, call.stage.detector, call.stage.detector.memory])
            await play(call, recording("beckett")[: CALLER_FRAME_BYTES * 40], haste=100)
            del recognizer
        del call
    await asyncio.sleep(0.1)  # the engine still has the last window of the last call
    gc.collect()
    assert len(kept) == 0


async def test_an_option_that_it_does_not_have_is_named(listening: Worker) -> None:
    provider = await listening.shared.providers.get("local")
    with pytest.raises(ProviderError, match="language"):
        await provider.open({"language": "fr"}, LoudnessDetector()).__aenter__()


async def test_without_its_weights_it_says_how_to_get_them(weights: Path, tmp_path: Path) -> None:
    async with worker(stages.stt.stage, ProviderContext(weights=tmp_path)) as empty:
        with pytest.raises(ProviderMissing, match="antiphon fetch"):
            await empty.call(LOCAL).__aenter__()
