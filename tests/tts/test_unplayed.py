"""The sentences that tts speaks again for a new owner, and a tts that starts from a snapshot."""

import stages.tts.stage
from antiphon_testing.stage import call
from antiphon_testing.virtual_time import in_virtual_time
from schemas.audio import AGENT_HZ, SAMPLE_BYTES
from schemas.events import (
    Event,
    OwnerChanged,
    Paused,
    PlaybackEnded,
    Resumed,
    SegmentSynthesized,
    SentenceReady,
    TurnStarted,
)
from schemas.media import Flag
from session.recoverable import Sentence
from session.state import dump
from stages.tts.unplayed import NOTHING_SPOKEN, Unplayed
from tests.session.told import Told

SENTENCES = [
    SentenceReady(turn=2, segment=0, text="At nine."),
    SentenceReady(turn=2, segment=1, text="On Sunday at ten.", last=True),
]


def spoken() -> Unplayed:
    unplayed = Unplayed()
    unplayed.start(2)
    for sentence in SENTENCES:
        unplayed.add(sentence)
    unplayed.measure(SegmentSynthesized(turn=2, segment=0, duration_ms=800))
    return unplayed


def left(unplayed: Unplayed) -> list[int]:
    return [sentence.segment for sentence in unplayed.recoverable.sentences]


def test_a_sentence_counts_as_played_when_its_end_was_heard() -> None:
    unplayed = spoken()
    assert left(unplayed) == [0, 1]
    unplayed.follow(Paused(turn=2, segment=0, heard_ms=780, utterance=1))
    assert left(unplayed) == [0, 1]
    unplayed.follow(Resumed(turn=2, heard_ms=800, utterance=1))
    assert left(unplayed) == [1]


def test_a_turn_that_was_cancelled_or_played_leaves_nothing() -> None:
    cancelled, played = spoken(), spoken()
    cancelled.end(2)
    played.follow(PlaybackEnded(turn=2, heard_ms=2_500))
    assert cancelled.recoverable == played.recoverable == NOTHING_SPOKEN


def test_an_end_that_overtakes_its_turn_counts() -> None:
    unplayed = Unplayed()
    unplayed.follow(PlaybackEnded(turn=2, heard_ms=0))
    unplayed.start(2)
    unplayed.add(SENTENCES[0])
    assert unplayed.recoverable == NOTHING_SPOKEN


@in_virtual_time
async def test_a_new_owner_speaks_what_was_not_played() -> None:
    told = Told()
    heard: list[Event] = [
        TurnStarted(turn=2, answers=0, time=7),
        *SENTENCES,
        SegmentSynthesized(turn=2, segment=0, duration_ms=800),
        Paused(turn=2, segment=0, heard_ms=800, utterance=1),
    ]
    told(*heard)
    agent = {"tts": {"provider": "scripted"}}
    async with call(stages.tts.stage, agent, snapshot=dump(told.state)) as tts:
        await tts.publishes(SegmentSynthesized, turn=2, segment=1)
        assert {sent.frame.segment for sent in tts.sent} == {1}
        assert tts.stage.recoverable().sentences == (Sentence(1, "On Sunday at ten."),)
        begins = next(sent.frame.at for sent in tts.sent if sent.frame.pcm)
        assert begins == 800 * AGENT_HZ // 1000, "audio lies where it belongs in the turn"


@in_virtual_time
async def test_a_new_owner_of_egress_gets_the_audio_that_the_caller_has_not_heard() -> None:
    async with call(stages.tts.stage, {"tts": {"provider": "scripted", "options": {"every_ms": 0}}}) as tts:
        tts.hear(TurnStarted(turn=2, answers=0))
        for sentence in SENTENCES:
            tts.hear(sentence)
        await tts.sends(Flag.LAST_OF_TURN)
        before = tts.audio()
        known = len(tts.sent)
        tts.hear(OwnerChanged(stage="egress", worker="egress-2", owner_epoch=9, turn=2, heard_ms=330))
        await tts.until(
            lambda: any(sent.frame.flags & Flag.LAST_OF_TURN for sent in tts.sent[known:]) or None, "the end"
        )
        again = tts.sent[known:]
        assert {sent.worker for sent in again} == {"egress-2"}
        assert again[-1].frame.flags & Flag.LAST_OF_TURN
        assert again[0].frame.at == 330 * AGENT_HZ // 1000
        assert b"".join(sent.frame.pcm for sent in again) == before[330 * AGENT_HZ // 1000 * SAMPLE_BYTES :]


@in_virtual_time
async def test_a_turn_that_has_been_played_is_not_sent_again() -> None:
    async with call(stages.tts.stage, {"tts": {"provider": "scripted"}}) as tts:
        tts.hear(TurnStarted(turn=2, answers=0))
        tts.hear(SENTENCES[0])
        await tts.publishes(SegmentSynthesized, segment=0)
        tts.hear(PlaybackEnded(turn=2, heard_ms=800))
        known = len(tts.sent)
        tts.hear(OwnerChanged(stage="egress", worker="egress-2", owner_epoch=9, turn=2, heard_ms=300))
        await tts.wait_ms(1_000)
        assert len(tts.sent) == known
