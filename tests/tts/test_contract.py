"""The stage with synthesizers that are not the scripted one: contexts, other rates, word times, and no sound at all."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

import pytest

import stages.tts.stage
from antiphon_testing.stage import Call, call, worker
from antiphon_testing.virtual_time import in_virtual_time
from schemas.audio import AGENT_HZ
from schemas.events import (
    Paused,
    PlaybackStarted,
    SegmentSynthesized,
    SentenceReady,
    TtsProviderFailed,
    TurnCancelled,
    TurnStarted,
)
from schemas.media import Flag
from session.entries import Segment
from session.history import heard_text
from stages.runtime.providers import ProviderContext
from stages.tts import token_codec
from stages.tts.contract import Synthesizer
from stages.tts.providers import scripted
from stages.tts.sentence_synthesizer import SentenceSynthesizer
from tests.kit.context_vendor import BUFFERED, WORD_MS, ContextSynthesizer, ContextTurn, ContextVendor

AGENT = {"tts": {"provider": "scripted"}}
SILENCE_MS = 700


async def half_mute(text: str) -> AsyncGenerator[bytes, None]:
    """A voice without Japanese, in which a text of Hindi is silence, and without anything for signs."""
    if any("\u0900" <= letter <= "\u097f" for letter in text):
        yield bytes(SILENCE_MS * AGENT_HZ // 1000 * 2)
    elif any(letter.isascii() and letter.isalnum() for letter in text):
        yield token_codec.encode(text)


@asynccontextmanager
async def speaking(synthesizer: Synthesizer) -> AsyncIterator[Call]:
    """A call in which `synthesizer` speaks."""

    @asynccontextmanager
    async def opened(*_: object) -> AsyncIterator[Synthesizer]:
        yield synthesizer

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(scripted.ScriptedProvider, "open", opened)
        async with call(stages.tts.stage, AGENT) as tts:
            yield tts


def reply(tts: Call, *sentences: str, turn: int = 2) -> None:
    tts.hear(TurnStarted(turn=turn, answers=turn - 2))
    for segment, text in enumerate(sentences):
        tts.hear(SentenceReady(turn=turn, segment=segment, text=text, last=segment == len(sentences) - 1))


def heard(tts: Call, *sentences: str, turn: int = 2) -> str:
    """What the history keeps of a turn that was played to its end."""
    spoken = {said.segment: said for said in tts.published(SegmentSynthesized) if said.turn == turn}
    segments = [
        Segment(text, spoken[number].duration_ms if number in spoken else None) for number, text in enumerate(sentences)
    ]
    return heard_text(segments, len(tts.audio(turn)) * 1000 // (2 * AGENT_HZ))


# --- contexts on one connection -------------------------------------------------------------------------------------


@in_virtual_time
async def test_contexts_with_flush_marks_are_spoken_with_their_word_times() -> None:
    vendor = ContextVendor()
    async with speaking(ContextSynthesizer(vendor)) as tts:
        reply(tts, "We open at nine.", "Not on Sunday.")
        first = await tts.publishes(SegmentSynthesized, segment=0)
        second = await tts.publishes(SegmentSynthesized, segment=1)
    assert [(word.text, word.start_ms) for word in second.words] == [("Not", 0), ("on", 200), ("Sunday.", 400)]
    assert (first.duration_ms, second.duration_ms) == (4 * WORD_MS, 3 * WORD_MS)
    assert (first.provider, first.characters) == ("scripted", len("We open at nine."))
    marks = [(sent.frame.segment, Flag(sent.frame.flags)) for sent in tts.sent if sent.frame.flags]
    assert marks == [
        (0, Flag.FIRST_OF_SEGMENT),
        (0, Flag.LAST_OF_SEGMENT),
        (1, Flag.FIRST_OF_SEGMENT),
        (1, Flag.LAST_OF_SEGMENT | Flag.LAST_OF_TURN),
    ]
    assert {sent.frame.rate for sent in tts.sent} == {AGENT_HZ}


@in_virtual_time
async def test_the_vendor_is_not_read_while_the_credit_is_spent() -> None:
    vendor = ContextVendor()
    async with speaking(ContextSynthesizer(vendor)) as tts:
        reply(tts, "word " * 200)
        await tts.wait_ms(60_000)
        ahead = 5_000 // WORD_MS
        assert (
            ahead <= vendor.chunks <= ahead + BUFFERED + 3
        )  # one is sent, one waits for credit, one in the vendor's hand
        tts.hear(PlaybackStarted(turn=2))
        await tts.wait_ms(2_000)
        assert vendor.chunks >= ahead + 2_000 // WORD_MS


@pytest.mark.parametrize("read", [0, 300])
def test_a_cancelled_turn_is_cancelled_at_the_vendor(read: int) -> None:
    @in_virtual_time
    async def story() -> None:
        vendor = ContextVendor()
        async with speaking(ContextSynthesizer(vendor)) as tts:
            reply(tts, "word " * 200)
            await tts.wait_ms(read)
            tts.hear(TurnCancelled(turn=2))
            await tts.wait_ms(10)
            made = vendor.chunks
            await tts.wait_ms(10_000)
            assert vendor.chunks == made
            reply(tts, "Sorry?", turn=3)
            await tts.publishes(SegmentSynthesized, turn=3)
            await tts.wait_ms(10)
            assert vendor.cancelled == 2  # a turn that was spoken is closed as well
        assert not tts.published(TtsProviderFailed)

    story()


@in_virtual_time
async def test_a_turn_that_is_cancelled_in_the_moment_it_begins_opens_no_context() -> None:
    vendor = ContextVendor()
    async with speaking(ContextSynthesizer(vendor)) as tts:
        tts.hear(TurnStarted(turn=2, answers=0))
        tts.hear(SentenceReady(turn=2, segment=0, text="Hello.", last=True))
        tts.hear(TurnCancelled(turn=2))
        await tts.wait_ms(1_000)
    assert (vendor.chunks, vendor.cancelled, tts.sent) == (0, 0, [])


@in_virtual_time
async def test_a_cancel_that_hangs_holds_up_nobody() -> None:
    vendor = ContextVendor()

    class HangingTurn(ContextTurn):
        async def cancel(self) -> None:
            await asyncio.Event().wait()

    class Hanging(ContextSynthesizer):
        def open_turn(self) -> ContextTurn:
            return HangingTurn(vendor)

    async with speaking(Hanging(vendor)) as tts:
        reply(tts, "Hello.")
        await tts.publishes(SegmentSynthesized, turn=2)
        reply(tts, "Again.", turn=3)
        await tts.publishes(SegmentSynthesized, turn=3)
        assert tts.session.now_ms() == 0
        await tts.wait_ms(2_000)
        assert tts.session.counters["cancel_failed"] == 2


@in_virtual_time
async def test_a_turn_goes_on_after_a_hold() -> None:
    async with speaking(ContextSynthesizer(ContextVendor())) as tts:
        reply(tts, "word " * 50)
        tts.hear(PlaybackStarted(turn=2))
        tts.hear(Paused(turn=2, segment=0, heard_ms=0, utterance=1))
        await tts.wait_ms(30_000)
        assert not tts.published(SegmentSynthesized)
        assert not tts.published(TtsProviderFailed)


# --- speech that makes no sound -------------------------------------------------------------------------------------


@in_virtual_time
async def test_a_sentence_without_audio_is_reported_once_and_not_heard_and_the_next_one_is_spoken() -> None:
    texts = ("Hello.", "こんにちは。", "ありがとう。", "Goodbye.")
    async with speaking(SentenceSynthesizer(half_mute)) as tts:
        reply(tts, *texts)
        await tts.sends(Flag.LAST_OF_TURN)
    (failed,) = tts.published(TtsProviderFailed)
    assert (failed.kind, failed.turn, failed.provider) == ("no_audio", 2, "scripted")
    assert token_codec.texts(tts.audio()) == ["Hello.", "Goodbye."]
    assert heard(tts, *texts) == "Hello. Goodbye."


@in_virtual_time
async def test_silence_ends_the_turn_and_neither_it_nor_what_follows_counts_as_heard() -> None:
    texts = ("Hello.", "नमस्ते।", "Goodbye.")
    async with speaking(SentenceSynthesizer(half_mute)) as tts:
        tts.hear(TurnStarted(turn=2, answers=0))
        tts.hear(SentenceReady(turn=2, segment=0, text=texts[0]))
        tts.hear(SentenceReady(turn=2, segment=1, text=texts[1]))
        await tts.sends(Flag.LAST_OF_TURN)
        tts.hear(SentenceReady(turn=2, segment=2, text=texts[2], last=True))
        await tts.publishes(SegmentSynthesized, segment=2, duration_ms=0, characters=0)
    (failed,) = tts.published(TtsProviderFailed)
    assert (failed.kind, failed.turn) == ("no_audio", 2)
    assert heard(tts, *texts) == "Hello."


@in_virtual_time
async def test_a_text_with_nothing_to_say_is_no_failure() -> None:
    texts = ("...", "—", "()", "👍", "***", "Hello.", "?!")
    async with speaking(SentenceSynthesizer(half_mute)) as tts:
        for turn in (2, 3, 4):
            reply(tts, *texts, turn=turn)
            await tts.sends(Flag.LAST_OF_TURN, turn=turn)
        reply(tts, "...", turn=5)
        await tts.sends(Flag.LAST_OF_TURN, turn=5)
    assert not tts.published(TtsProviderFailed)
    assert heard(tts, *texts) == "Hello."
    assert [said.duration_ms for said in tts.published(SegmentSynthesized) if said.turn == 5] == [0]


@in_virtual_time
async def test_a_voice_without_audio_in_two_turns_is_not_asked_again() -> None:
    async with speaking(SentenceSynthesizer(half_mute)) as tts:
        for turn in (2, 3, 4):
            reply(tts, "こんにちは。", "مرحبا", turn=turn)
            await tts.sends(Flag.LAST_OF_TURN, turn=turn)
            await tts.settle()
    failures = tts.published(TtsProviderFailed)
    assert [(failed.turn, failed.kind) for failed in failures] == [(2, "no_audio"), (3, "no_audio"), (4, "no_audio")]
    assert failures[2].message.startswith("not asked again after 2 failed turns")
    assert heard(tts, "こんにちは。", "مرحبا", turn=4) == ""


@in_virtual_time
async def test_a_foreign_sentence_in_every_turn_does_not_end_the_voice() -> None:
    async with speaking(SentenceSynthesizer(half_mute)) as tts:
        for turn in (2, 3, 4):
            reply(tts, "こんにちは。", "Hello.", turn=turn)
            await tts.sends(Flag.LAST_OF_TURN, turn=turn)
            await tts.settle()
        assert token_codec.texts(tts.audio()) == ["Hello."] * 3


@in_virtual_time
async def test_silence_without_end_is_no_audio() -> None:
    async def endless(text: str) -> AsyncGenerator[bytes, None]:
        while True:
            yield bytes(4_800)

    async with speaking(SentenceSynthesizer(endless)) as tts:
        reply(tts, "Hello.")
        tts.hear(PlaybackStarted(turn=2))
        await tts.wait_ms(11_000)
        await tts.publishes(TtsProviderFailed, kind="no_audio")
        assert len(tts.audio()) <= 10.2 * AGENT_HZ * 2


@pytest.mark.local
@pytest.mark.parametrize("text", ["नमस्ते, आप कैसे हैं?", "こんにちは、元気ですか。", "مرحبا كيف حالك", "你好", "안녕하세요"])
async def test_a_script_that_the_local_voice_lacks_is_no_audio(text: str) -> None:
    pytest.importorskip("hibari", reason="pip install -e '.[local]'")
    async with (
        worker(stages.tts.stage, ProviderContext()) as running,
        running.call({"tts": {"provider": "local"}}) as tts,
    ):
        reply(tts, text)
        await tts.publishes(TtsProviderFailed, kind="no_audio", provider="local")
        await tts.sends(Flag.LAST_OF_TURN)
        assert heard(tts, text) == ""
