"""A chain of voices: words lost 0, words doubled 0, wherever a voice dies."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import stages.tts.stage
from antiphon_testing.resampling import resample
from antiphon_testing.stage import Call, worker
from antiphon_testing.vendors.cartesia_server import CartesiaServer, cartesia_server
from antiphon_testing.vendors.faults import Close, Fault, Garbage, HalfFrame, Refuse, SlowStart, Stall
from antiphon_testing.vendors.openai_speech_server import OpenAISpeechServer, openai_speech_server
from antiphon_testing.vendors.voices import CHUNK_BYTES, ToneVoice, VendorVoice, local_voice
from antiphon_testing.virtual_time import in_virtual_time
from antiphon_testing.wer import words as words_of
from schemas.agent import ProviderChoice
from schemas.audio import AGENT_HZ, CALLER_HZ
from schemas.events import PlaybackStarted, SegmentSynthesized, SentenceReady, TtsProviderFailed, TurnStarted
from schemas.media import Flag
from session.entries import Segment
from session.history import heard_text
from stages.runtime.chain import Failure, InUse
from stages.runtime.providers import ProviderError
from stages.tts import token_codec
from stages.tts.contract import AudioChunk, Capabilities
from stages.tts.fallback import FAILURES, FallbackSynthesizer, VoiceChain
from tests.kit.voices import bound_to, speak

BROKEN = ProviderError("connection", "it broke", retryable=True)


class DyingVoice:
    """Speaks tones. dies: after so many chunks of each turn; None never. stalls: it falls silent instead of failing."""

    def __init__(self, dies: int | None, *, timed: bool, size: int = CHUNK_BYTES, stalls: bool = False) -> None:
        self.capabilities = Capabilities(word_times=timed)
        self.turns = 0
        self._dies, self._size, self._stalls = dies, size, stalls

    def open_turn(self) -> "DyingTurn":
        self.turns += 1
        return DyingTurn(self)


class DyingTurn:
    def __init__(self, voice: DyingVoice) -> None:
        self._voice = voice
        self._texts: asyncio.Queue[tuple[int, str] | None] = asyncio.Queue()

    def push(self, segment: int, text: str) -> None:
        self._texts.put_nowait((segment, text))

    def end(self) -> None:
        self._texts.put_nowait(None)

    async def chunks(self) -> AsyncGenerator[AudioChunk, None]:
        made, voice = 0, self._voice
        while said := await self._texts.get():
            segment, text = said
            spoken = await ToneVoice().speak(text)
            for start in range(0, len(spoken.pcm), voice._size):
                if made == voice._dies:
                    if voice._stalls:
                        await asyncio.Event().wait()
                    raise BROKEN
                made += 1
                inside = range(start, start + voice._size)
                timed = voice.capabilities.word_times
                words = tuple(word for word in spoken.words if timed and word.start_ms * 48 in inside)
                yield AudioChunk(spoken.pcm[start : start + voice._size], AGENT_HZ, segment, words=words)
            yield AudioChunk(b"", AGENT_HZ, segment, last_of_segment=True)

    async def cancel(self) -> None:
        pass


@dataclass
class Chain:
    """A chain of these voices, without breakers."""

    voices: list[DyingVoice]
    failures: list[Failure] = field(default_factory=list)

    async def open_next(self, tried: set[int], report: object) -> InUse[Any] | None:
        for index, voice in enumerate(self.voices):
            if index not in tried:
                tried.add(index)
                return InUse(ProviderChoice(provider=f"v{index}"), voice, index, tried)
        return None

    def failed(self, used: InUse[Any], error: ProviderError) -> Failure:
        left = [index for index in range(len(self.voices)) if index not in used.tried]
        return Failure(used.choice.provider, error, f"v{left[0]}" if left else "")

    def names_another(self, tried: set[int]) -> bool:
        return len(tried) < len(self.voices)

    def succeeded(self, used: InUse[Any]) -> None:
        pass


def chain_of(*voices: DyingVoice) -> tuple[FallbackSynthesizer, list[Failure]]:
    chain = Chain(list(voices))
    first = InUse(ProviderChoice(provider="v0"), cast(Any, voices[0]), 0, {0})
    return FallbackSynthesizer(cast(VoiceChain, chain), first, chain.failures.append), chain.failures


# Tones have a pace of 25 letters a second. A tone that is cut in a chunk is no letter.
SENTENCES = st.lists(
    st.lists(st.sampled_from(["We", "open", "at", "nine,", "at", "a"]), min_size=1, max_size=6).map(" ".join),
    min_size=1,
    max_size=3,
)


@settings(max_examples=60, deadline=None)
@given(SENTENCES, st.lists(st.integers(0, 30), max_size=3), st.sampled_from([480, 960, 1_918, CHUNK_BYTES]))
def test_with_word_times_no_word_is_lost_and_none_doubled(texts: list[str], deaths: list[int], size: int) -> None:
    async def story() -> list[AudioChunk]:
        voices, _ = chain_of(
            *(DyingVoice(dies, timed=True, size=size) for dies in deaths), DyingVoice(None, timed=True)
        )
        return await speak(voices, *texts)

    chunks = asyncio.run(story())
    for segment, text in enumerate(texts):
        mine = [chunk for chunk in chunks if chunk.segment == segment]
        assert token_codec.decode(b"".join(chunk.pcm for chunk in mine)).split() == text.split()
        assert [word.text for chunk in mine for word in chunk.words] == text.split()
        times = [time for chunk in mine for word in chunk.words for time in (word.start_ms, word.end_ms)]
        assert times == sorted(times)
        assert [chunk.last_of_segment for chunk in mine] == [False] * (len(mine) - 1) + [True]


@settings(max_examples=60, deadline=None)
@given(SENTENCES, st.lists(st.integers(0, 30), max_size=2))
def test_without_word_times_no_word_is_lost_and_only_words_of_the_cut_sentence_are_doubled(
    texts: list[str], deaths: list[int]
) -> None:
    async def story() -> list[AudioChunk]:
        voices, _ = chain_of(*(DyingVoice(dies, timed=False) for dies in deaths), DyingVoice(None, timed=False))
        return await speak(voices, *texts)

    chunks = asyncio.run(story())
    for segment, text in enumerate(texts):
        said = token_codec.texts(b"".join(chunk.pcm for chunk in chunks if chunk.segment == segment))
        assert text.endswith(said[-1])
        assert all(text.find(part.replace("\N{REPLACEMENT CHARACTER}", "")) >= 0 for part in said)
        assert len(said) <= len(deaths) + 1
        reached = 0
        for part in said:  # each voice begins within what was said before it, or right behind it
            whole = part.rstrip("\N{REPLACEMENT CHARACTER}")
            starts = [start for start in range(reached + 2) if text.startswith(whole, start)]
            assert starts
            reached = max(reached, starts[-1] + len(part))


@in_virtual_time
async def test_a_voice_that_stalls_is_left_before_the_caller_hangs_up() -> None:
    voices, failures = chain_of(DyingVoice(3, timed=True, stalls=True), DyingVoice(None, timed=True))
    began = asyncio.get_running_loop().time()
    chunks = await speak(voices, "We open at nine.")
    assert asyncio.get_running_loop().time() - began < 3
    assert [(failure.provider, failure.error.kind, failure.next) for failure in failures] == [("v0", "timeout", "v1")]
    assert token_codec.decode(b"".join(chunk.pcm for chunk in chunks)).split() == ["We", "open", "at", "nine."]


@in_virtual_time
async def test_a_voice_that_failed_twice_in_a_row_is_not_asked_a_third_time_for_a_while() -> None:
    dying, backup = DyingVoice(0, timed=True), DyingVoice(None, timed=True)
    voices, _ = chain_of(dying, backup)
    for _ in range(4):
        await speak(voices, "Hello.")
    assert (dying.turns, backup.turns) == (FAILURES, 4)
    await asyncio.sleep(3_600)
    await speak(voices, "Hello.")
    assert dying.turns == FAILURES + 1


async def test_with_no_voice_left_the_last_error_is_raised() -> None:
    voices, failures = chain_of(DyingVoice(0, timed=True), DyingVoice(2, timed=True))
    with pytest.raises(ProviderError, match="it broke"):
        await speak(voices, "Hello.")
    assert [failure.provider for failure in failures] == ["v0"]
    assert voices.name == "v1"


# --- in a call, with the stand-ins of vendors -----------------------------------------------------------------------

LONG = "We open at nine in the morning, and we close at six in the evening, from Monday to Friday."


NIGHT = "The swimming pool is open every morning, and the garden is closed during the winter."


@asynccontextmanager
async def call_with(voice: VendorVoice | None = None) -> AsyncIterator[tuple[Call, CartesiaServer, OpenAISpeechServer]]:
    async with cartesia_server(voice) as first, openai_speech_server(voice) as second:
        backup = {"provider": "openai", "options": {"base_url": second.url}}
        agent = {"tts": {"provider": "cartesia", "options": {"base_url": first.url}, "fallback": [backup]}}
        async with worker(stages.tts.stage, bound_to(first.url)) as running, running.call(agent) as tts:
            yield tts, first, second


async def spoken(tts: Call, *texts: str) -> bytes:
    tts.hear(TurnStarted(turn=2, answers=0))
    for segment, text in enumerate(texts):
        tts.hear(SentenceReady(turn=2, segment=segment, text=text, last=segment == len(texts) - 1))
    await tts.sends(Flag.FIRST_OF_SEGMENT, turn=2)
    tts.hear(PlaybackStarted(turn=2))
    await tts.sends(Flag.LAST_OF_TURN, turn=2)
    return tts.audio(2)


@pytest.mark.parametrize(
    "fault",
    [
        Refuse(401),
        Refuse(429, retry_after_s=3),
        Refuse(500),
        SlowStart(30),
        Stall(after=6),
        Close(after=6),
        Close(after=6, code=1000),
        Close(after=6, code=1011),
        HalfFrame(after=6),
        Garbage(after=6),
    ],
)
async def test_the_caller_hears_each_word_once_whatever_fails(fault: Fault) -> None:
    text = "We open at nine, not at ten."
    async with call_with() as (tts, first, _):
        first.faults.queue(fault)
        pcm = await spoken(tts, text, "Goodbye.")
        assert token_codec.decode(pcm).split() == f"{text} Goodbye.".split()
        [failed] = tts.published(TtsProviderFailed)
        assert (failed.turn, failed.provider, failed.next) == (2, "cartesia", "openai")
        segments = [await tts.publishes(SegmentSynthesized, segment=number) for number in (0, 1)]
        assert {said.provider for said in segments} == {"openai"}


async def test_words_that_an_interrupted_caller_heard_are_exact() -> None:
    async with call_with() as (tts, _, _):
        await spoken(tts, LONG[:40])
        said = await tts.publishes(SegmentSynthesized, segment=0)
    assert [word.text for word in said.words] == LONG[:40].split()
    segment = Segment(LONG[:40], said.duration_ms, words=said.words)
    for place, word in enumerate(said.words):
        assert heard_text([segment], word.end_ms) == " ".join(LONG[:40].split()[: place + 1])


@pytest.mark.local
@pytest.mark.parametrize("after", [9, 21, 33])
async def test_real_speech_of_two_voices_is_recognized_as_one_sentence(after: int) -> None:
    pytest.importorskip("hibari", reason="pip install -e '.[local]'")
    recognizer = pytest.importorskip("stages.stt.providers.local", reason="pip install -e '.[local]'").Moonshine()
    async with local_voice() as voice, call_with(voice) as (tts, first, _):
        first.faults.queue(Close(after=after))
        pcm = await spoken(tts, NIGHT)
        assert [failed.next for failed in tts.published(TtsProviderFailed)] == ["openai"]
    heard = recognizer.transcribe(b"".join(resample(iter([pcm]), AGENT_HZ, CALLER_HZ)))
    recognizer.close()
    assert words_of(heard) == words_of(NIGHT)
