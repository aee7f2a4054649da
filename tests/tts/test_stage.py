"""The voice of a call, with the scripted provider."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any, Literal

import pytest

import stages.tts.stage
from antiphon_testing.stage import Call, call
from antiphon_testing.virtual_time import in_virtual_time
from schemas.events import (
    Paused,
    PlaybackStarted,
    Resumed,
    SegmentSynthesized,
    SentenceReady,
    SessionOpened,
    TtsProviderFailed,
    TurnCancelled,
    TurnStarted,
)
from schemas.media import MAX_CHUNK_MS, Flag
from stages.runtime.providers import ProviderError
from stages.tts import token_codec
from stages.tts.providers import scripted
from stages.tts.speech import CHUNK_WITHIN_S


def agent(**options: Any) -> dict[str, Any]:
    return {"tts": {"provider": "scripted", "options": options}}


def reply(tts: Call, *sentences: str, turn: int = 2) -> None:
    tts.hear(TurnStarted(turn=turn, answers=turn - 2))
    for segment, text in enumerate(sentences):
        tts.hear(SentenceReady(turn=turn, segment=segment, text=text, last=segment == len(sentences) - 1))


@in_virtual_time
async def test_a_reply_is_spoken_sentence_by_sentence_and_its_end_is_marked() -> None:
    async with call(stages.tts.stage, agent()) as tts:
        reply(tts, "Hello.", "We open at nine.")
        await tts.sends(Flag.LAST_OF_TURN, turn=2)
    assert token_codec.texts(tts.audio()) == ["Hello.", "We open at nine."]
    assert {sent.worker for sent in tts.sent} == {"egress-1"}
    assert all(sent.frame.duration_ms <= MAX_CHUNK_MS for sent in tts.sent)
    marks = [(sent.frame.segment, Flag(sent.frame.flags)) for sent in tts.sent if sent.frame.flags]
    assert marks == [
        (0, Flag.FIRST_OF_SEGMENT),
        (0, Flag.LAST_OF_SEGMENT),
        (1, Flag.FIRST_OF_SEGMENT),
        (1, Flag.LAST_OF_SEGMENT | Flag.LAST_OF_TURN),
    ]
    assert [sent.frame.at for sent in tts.sent[1:]] == [s.frame.at + s.frame.samples for s in tts.sent[:-1]]


@in_virtual_time
async def test_it_says_how_long_a_segment_is_and_how_soon_it_began() -> None:
    async with call(stages.tts.stage, agent(first_ms=200, duration_ms=1_230)) as tts:
        reply(tts, "Whatever.")
        said = await tts.publishes(SegmentSynthesized, turn=2, segment=0)
        assert (said.duration_ms, said.first_audio_ms) == (1_230, 200)


@in_virtual_time
async def test_the_first_chunk_does_not_wait_for_the_second() -> None:
    async with call(stages.tts.stage, agent(first_ms=30, chunk_ms=20, every_ms=5_000)) as tts:
        reply(tts, "Yes?")
        await tts.sends(Flag.FIRST_OF_SEGMENT)
        assert tts.sent[0].now_ms == pytest.approx(30, abs=1)


@in_virtual_time
async def test_a_reply_that_ends_with_nothing_more_to_say_ends_all_the_same() -> None:
    async with call(stages.tts.stage, agent()) as tts:
        reply(tts, "Goodbye.", "")
        frame = await tts.sends(Flag.LAST_OF_TURN)
        assert (frame.segment, frame.pcm) == (1, b"")
    assert [said.segment for said in tts.published(SegmentSynthesized)] == [0]


@in_virtual_time
async def test_a_cancelled_turn_stops_at_once_and_its_waiting_sentences_are_dropped() -> None:
    async with call(stages.tts.stage, agent()) as tts:
        reply(tts, "This takes quite a while to say.", "And so does this.")
        await tts.sends(Flag.FIRST_OF_SEGMENT)
        tts.hear(TurnCancelled(turn=2))
        await tts.settle()
        before = len(tts.sent)
        reply(tts, "Sorry?", turn=3)
        await tts.sends(Flag.LAST_OF_TURN, turn=3)
    assert {sent.frame.turn for sent in tts.sent[before:]} == {3}
    assert token_codec.decode(tts.audio(turn=3)) == "Sorry?"
    assert [said.turn for said in tts.published(SegmentSynthesized)] == [3]


@in_virtual_time
async def test_a_new_turn_stops_the_one_before_without_an_end_mark() -> None:
    async with call(stages.tts.stage, agent()) as tts:
        reply(tts, "This takes quite a while to say.")
        await tts.sends(Flag.FIRST_OF_SEGMENT)
        reply(tts, "Sorry?", turn=3)
        await tts.sends(Flag.LAST_OF_TURN, turn=3)
    assert not any(sent.frame.flags & Flag.LAST_OF_TURN for sent in tts.sent if sent.frame.turn == 2)


@in_virtual_time
async def test_it_stays_five_seconds_ahead_of_the_caller_and_no_more() -> None:
    async with call(stages.tts.stage, agent(every_ms=1, duration_ms=20_000)) as tts:
        reply(tts, "A long story.")
        await tts.wait_ms(8_000)
        assert len(tts.audio()) == 5 * 48_000
        tts.hear(PlaybackStarted(turn=2))
        await tts.wait_ms(2_050)
        assert 7 * 48_000 <= len(tts.audio()) <= 7.2 * 48_000
        tts.hear(Paused(turn=2, segment=0, heard_ms=2_000, utterance=1))
        await tts.wait_ms(30_000)
        assert len(tts.audio()) <= 7.2 * 48_000
        tts.hear(Resumed(turn=2, heard_ms=2_000, utterance=1))
        await tts.wait_ms(12_000)
        assert not tts.published(SegmentSynthesized)
        await tts.sends(Flag.LAST_OF_TURN)
        await tts.publishes(SegmentSynthesized, duration_ms=20_000)


@in_virtual_time
async def test_a_greeting_waits_until_it_is_known_where_egress_is() -> None:
    async with call(stages.tts.stage, agent()) as tts:
        owners = dict(tts.session.owners)
        tts.session.owners.clear()
        reply(tts, "Hello.", turn=1)
        await tts.wait_ms(500)
        assert not tts.sent
        tts.hear(SessionOpened(owners=owners, coordinator="i", transport="websocket", started_us=0, config={}))
        await tts.sends(Flag.LAST_OF_TURN, turn=1)


@pytest.fixture
def _failing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The scripted voice breaks off after its first chunk when it reads `burp`, and falls silent at `hmm`."""
    speak = scripted.ScriptedVoice.speak

    async def failing(self: scripted.ScriptedVoice, text: str) -> AsyncGenerator[bytes, None]:
        async for chunk in speak(self, text):
            if text == "hmm":
                await asyncio.sleep(3_600)
            yield chunk
            if text == "burp":
                raise ProviderError("server", "it broke off", retryable=True)

    monkeypatch.setattr(scripted.ScriptedVoice, "speak", failing)


@pytest.mark.usefixtures("_failing")
@in_virtual_time
async def test_a_voice_that_breaks_off_ends_the_turn_and_the_next_one_is_spoken() -> None:
    async with call(stages.tts.stage, agent()) as tts:
        reply(tts, "burp", "Never heard.")
        failed = await tts.publishes(TtsProviderFailed, turn=2, kind="server", provider="scripted", retryable=True)
        assert failed.message == "it broke off"
        await tts.sends(Flag.LAST_OF_TURN, turn=2)
        reply(tts, "Better now.", turn=3)
        await tts.sends(Flag.LAST_OF_TURN, turn=3)
    assert [Flag(sent.frame.flags) for sent in tts.sent if sent.frame.turn == 2][1:] == [
        Flag.LAST_OF_SEGMENT | Flag.LAST_OF_TURN
    ]
    assert token_codec.decode(tts.audio(turn=3)) == "Better now."


@pytest.mark.usefixtures("_failing")
@in_virtual_time
async def test_a_voice_that_stays_silent_has_failed() -> None:
    async with call(stages.tts.stage, agent()) as tts:
        reply(tts, "hmm")
        await tts.wait_ms(CHUNK_WITHIN_S * 1000)
        await tts.publishes(TtsProviderFailed, turn=2, kind="timeout")
        await tts.sends(Flag.LAST_OF_TURN, turn=2)


@in_virtual_time
async def test_a_pause_of_the_model_is_no_failure_of_the_voice() -> None:
    async with call(stages.tts.stage, agent()) as tts:
        tts.hear(TurnStarted(turn=2, answers=0))
        tts.hear(SentenceReady(turn=2, segment=0, text="Let me see."))
        await tts.wait_ms(CHUNK_WITHIN_S * 3_000)
        tts.hear(SentenceReady(turn=2, segment=1, text="Yes.", last=True))
        await tts.sends(Flag.LAST_OF_TURN, turn=2)
    assert token_codec.texts(tts.audio()) == ["Let me see.", "Yes."]
    assert not tts.published(TtsProviderFailed)


@pytest.mark.usefixtures("_failing")
@in_virtual_time
async def test_a_voice_that_failed_twice_is_not_asked_a_third_time() -> None:
    async with call(stages.tts.stage, agent()) as tts:
        for turn in (2, 3):
            reply(tts, "hmm", turn=turn)
            await tts.wait_ms(CHUNK_WITHIN_S * 1000)
            await tts.publishes(TtsProviderFailed, turn=turn, kind="timeout")
        now_ms = tts.session.now_ms()
        reply(tts, "Better now.", "And well.", turn=4)
        failed = await tts.publishes(TtsProviderFailed, turn=4, kind="timeout", retryable=False)
        await tts.sends(Flag.LAST_OF_TURN, turn=4)
        assert tts.session.now_ms() == now_ms
    assert failed.message == "not asked again after 2 failed turns; the last one: no audio within 10 s"
    assert tts.audio() == b""
    spoken = tts.published(SegmentSynthesized)
    assert [(said.turn, said.segment, said.duration_ms) for said in spoken] == [
        (2, 0, 0),
        (3, 0, 0),
        (4, 0, 0),
        (4, 1, 0),
    ]


@pytest.mark.parametrize("kind", ["filler", "notice"])
def test_a_filler_and_a_notice_are_spoken_as_a_reply_is(kind: Literal["filler", "notice"]) -> None:
    @in_virtual_time
    async def story() -> None:
        async with call(stages.tts.stage, agent()) as tts:
            tts.hear(TurnStarted(turn=2, answers=0))
            tts.hear(SentenceReady(turn=2, segment=0, text="One moment.", kind=kind))
            tts.hear(SentenceReady(turn=2, segment=1, text="We open at nine.", last=True))
            await tts.sends(Flag.LAST_OF_TURN)
        assert token_codec.texts(tts.audio()) == ["One moment.", "We open at nine."]

    story()


@in_virtual_time
async def test_the_first_chunk_is_sent_at_once() -> None:
    async with call(stages.tts.stage, agent(first_ms=0)) as tts:
        reply(tts, "Yes.")
        await tts.sends(Flag.FIRST_OF_SEGMENT)
        assert tts.sent[0].now_ms == 0


async def test_a_wrong_option_is_named() -> None:
    with pytest.raises(ProviderError, match="option pitch"):
        async with call(stages.tts.stage, agent(pitch=3)):
            pass


@in_virtual_time
async def test_two_calls_of_one_worker_keep_their_words_apart() -> None:
    async with call(stages.tts.stage, agent()) as one, call(stages.tts.stage, agent()) as other:
        reply(one, "I am one.")
        reply(other, "I am the other.")
        await one.sends(Flag.LAST_OF_TURN)
        await other.sends(Flag.LAST_OF_TURN)
    assert (token_codec.decode(one.audio()), token_codec.decode(other.audio())) == ("I am one.", "I am the other.")
