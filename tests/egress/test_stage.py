"""Egress in a call: what it sends to the caller's line, and what it says of it."""

import stages.egress.stage
import stages.tts.stage
from antiphon_testing.stage import Call, Sent, call, worker
from antiphon_testing.virtual_time import in_virtual_time
from schemas.audio import AGENT_FRAME_BYTES
from schemas.control import Playhead
from schemas.events import (
    Event,
    Paused,
    PlaybackEnded,
    PlaybackStarted,
    ReplyResumed,
    Resumed,
    SentenceReady,
    SpeechEnded,
    SpeechStarted,
    TurnCancelled,
    TurnStarted,
)
from schemas.media import Flag
from session.state import dump, load, locate
from stages.tts import token_codec
from tests.session.told import Told

WORDS = "We are open from nine to six."
SPOKEN_MS = len(token_codec.encode(WORDS)) // 48
LAST = Flag.LAST_OF_SEGMENT | Flag.LAST_OF_TURN


def speak(egress: Call, text: str = WORDS, turn: int = 2) -> None:
    """All of a turn's audio comes as tts sends it."""
    pcm = token_codec.encode(text)
    for start in range(0, len(pcm), 4_800):
        egress.hear_audio(pcm[start : start + 4_800], turn=turn)
    egress.hear_audio(b"", turn=turn, flags=LAST)


def heard(sent: list[Sent]) -> str:
    """What a caller hears of frames that are played at once, from one clear to the next."""
    played: list[bytes] = []
    line: list[bytes] = []
    free_at = 0.0
    for now_ms, _, frame in sent:
        while line and free_at <= now_ms:
            played.append(line.pop(0))
            free_at += 20
        if frame.flags & Flag.DISCONTINUITY:
            line.clear()
        else:
            if not line:
                free_at = max(free_at, now_ms)
            line.append(frame.pcm)
    return token_codec.decode_frames(played + line)


@in_virtual_time
async def test_an_answer_goes_to_the_coordinator_in_frames_of_20_ms() -> None:
    async with call(stages.egress.stage) as egress:
        egress.hear(TurnStarted(turn=2, answers=0))
        speak(egress)
        await egress.publishes(PlaybackStarted, turn=2)
        await egress.publishes(PlaybackEnded, turn=2, heard_ms=SPOKEN_MS, interrupted=False)
    assert {(sent.worker, len(sent.frame.pcm)) for sent in egress.sent} == {("ingress-1", AGENT_FRAME_BYTES)}
    assert token_codec.decode(egress.audio()) == WORDS
    assert egress.sent[0].now_ms == 0
    assert all(number * 20 - round(sent.now_ms) <= 80 for number, sent in enumerate(egress.sent))


@in_virtual_time
async def test_the_greeting_plays_although_the_caller_never_speaks() -> None:
    async with call(stages.egress.stage) as egress:
        egress.hear(TurnStarted(turn=1, answers=-1))
        speak(egress, turn=1)
        await egress.publishes(PlaybackEnded, turn=1, interrupted=False)


@in_virtual_time
async def test_a_cough_costs_a_hole_and_then_the_answer_goes_on() -> None:
    async with call(stages.egress.stage) as egress:
        egress.hear(TurnStarted(turn=2, answers=0))
        speak(egress)
        await egress.wait_ms(413)
        egress.hear(SpeechStarted(utterance=1, start_sample=0))
        paused = await egress.publishes(Paused, turn=2, utterance=1)
        egress.hear(SpeechEnded(utterance=1, until_sample=0))
        await egress.wait_ms(700)
        egress.hear(ReplyResumed(utterance=1))
        await egress.publishes(Resumed, turn=2, heard_ms=paused.heard_ms, reason="decided")
        ended = await egress.publishes(PlaybackEnded, turn=2)
    assert 400 <= paused.heard_ms <= 440
    assert (ended.heard_ms, ended.interrupted) == (SPOKEN_MS, False)
    assert heard(egress.sent) == WORDS
    assert token_codec.decode(egress.audio()) != WORDS  # some frames went out twice, as the line had dropped them


@in_virtual_time
async def test_a_line_that_echoes_is_held_for_words_and_not_for_sounds() -> None:
    async with call(stages.egress.stage) as egress:
        egress.hear(TurnStarted(turn=2, answers=0))
        speak(egress)
        await egress.wait_ms(413)
        egress.hear(SpeechStarted(utterance=1, start_sample=0))
        await egress.publishes(Paused, turn=2, utterance=1)
        egress.hear(SpeechEnded(utterance=1, until_sample=0))
        egress.hear(SpeechStarted(utterance=2, start_sample=0))
        egress.hear(ReplyResumed(utterance=1, echo=True))
        await egress.publishes(Resumed, turn=2, utterance=2, reason="decided")
        egress.hear(SpeechStarted(utterance=3, start_sample=0))
        await egress.wait_ms(300)
        assert len(egress.published(Paused)) == 2
        egress.hear(TurnCancelled(turn=2))
        ended = await egress.publishes(PlaybackEnded, turn=2)
    assert ended.interrupted
    assert 413 + 200 < ended.heard_ms < SPOKEN_MS


@in_virtual_time
async def test_a_lost_decision_does_not_mute_the_agent_for_ever() -> None:
    async with call(stages.egress.stage) as egress:
        egress.hear(TurnStarted(turn=2, answers=0))
        speak(egress)
        await egress.wait_ms(413)
        egress.hear(SpeechStarted(utterance=1, start_sample=0))
        egress.hear(SpeechEnded(utterance=1, until_sample=0))
        await egress.publishes(Resumed, reason="timeout")
        await egress.publishes(PlaybackEnded, turn=2, interrupted=False)
    assert heard(egress.sent) == WORDS


@in_virtual_time
async def test_an_interruption_is_cleared_and_the_next_answer_is_heard() -> None:
    async with call(stages.egress.stage) as egress:
        egress.hear(TurnStarted(turn=2, answers=0))
        speak(egress)
        await egress.wait_ms(413)
        egress.hear(SpeechStarted(utterance=1, start_sample=0))
        await egress.publishes(Paused, turn=2, utterance=1)
        egress.hear(TurnCancelled(turn=2))
        ended = await egress.publishes(PlaybackEnded, turn=2, interrupted=True)
        assert ended.heard_ms == egress.published(Paused)[0].heard_ms
        egress.hear(TurnStarted(turn=3, answers=1))
        speak(egress, "Sorry?", turn=3)
        await egress.publishes(PlaybackEnded, turn=3, interrupted=False)
    assert token_codec.decode(egress.audio(turn=3)) == "Sorry?"
    assert sum(bool(sent.frame.flags & Flag.DISCONTINUITY) for sent in egress.sent) == 1


@in_virtual_time
async def test_a_hangup_in_the_middle_ends_the_turn_where_it_was() -> None:
    async with call(stages.egress.stage) as egress:
        egress.hear(TurnStarted(turn=2, answers=0))
        speak(egress)
        await egress.wait_ms(405)
    assert egress.published(PlaybackEnded)[0].heard_ms == 420
    assert egress.published(PlaybackEnded)[0].interrupted


@in_virtual_time
async def test_the_voice_and_the_ear_together_never_run_dry_or_over() -> None:
    """tts and egress hear each other as they do over the bus; a long answer is spoken 5 s ahead."""
    text = "A long answer. " * 40
    agent = {"tts": {"provider": "scripted", "options": {"every_ms": 20}}}
    async with call(stages.tts.stage, agent) as tts, call(stages.egress.stage) as egress:
        turn = TurnStarted(turn=2, answers=0)
        egress.hear(turn)
        tts.hear(turn)
        tts.hear(SentenceReady(turn=2, segment=0, text=text, last=True))
        frames = events = 0
        while not egress.published(PlaybackEnded):
            await egress.wait_ms(5)
            for sent in tts.sent[frames:]:
                egress.hear_audio(sent.frame.pcm, turn=2, flags=sent.frame.flags)
            for event in egress.events[events:]:
                tts.hear(event)
            frames, events = len(tts.sent), len(egress.events)
    assert heard(egress.sent) == text
    assert egress.session.counters == {}
    assert tts.session.counters == {}


@in_virtual_time
async def test_calls_share_one_ticker_that_stops_with_the_last_sound() -> None:
    async with (
        worker(stages.egress.stage) as running,
        running.call(session="s1") as one,
        running.call(session="s2") as other,
    ):
        for egress, text in ((one, "I am one."), (other, "I am the other.")):
            egress.hear(TurnStarted(turn=2, answers=0))
            speak(egress, text)
        await one.settle()
        assert running.shared._timer is not None
        await one.publishes(PlaybackEnded)
        await other.publishes(PlaybackEnded)
        await one.wait_ms(20)
        assert running.shared._timer is None
    assert (token_codec.decode(one.audio()), token_codec.decode(other.audio())) == ("I am one.", "I am the other.")


async def test_in_real_time_too_a_cough_costs_no_word() -> None:
    async with call(stages.egress.stage) as egress:
        egress.hear(TurnStarted(turn=2, answers=0))
        speak(egress, "Yes, until six.")
        await egress.wait_ms(200)
        egress.hear(SpeechStarted(utterance=1, start_sample=0))
        await egress.publishes(Paused, turn=2)
        egress.hear(ReplyResumed(utterance=1))
        await egress.publishes(PlaybackEnded, turn=2, interrupted=False)
    assert heard(egress.sent) == "Yes, until six."


async def test_a_call_without_a_door_is_played_to_nobody_at_the_same_pace() -> None:
    async with call(stages.egress.stage, transport="null") as egress:
        egress.hear(TurnStarted(turn=2, answers=0))
        speak(egress, "Hm.")
        await egress.publishes(PlaybackEnded, turn=2, heard_ms=140)
    assert not egress.sent


# --- from a snapshot --------------------------------------------------------------------------------------------------


def after(*told: Event) -> bytes:
    """The snapshot of a session of these events."""
    session = Told()
    session(*told)
    return dump(session.state)


PLAYS = [TurnStarted(turn=2, answers=0, time=7), PlaybackStarted(turn=2, time=8)]


@in_virtual_time
async def test_a_new_owner_counts_on_where_the_old_one_left_off() -> None:
    state = load(after(*PLAYS, Paused(turn=2, segment=0, heard_ms=400, utterance=0)))
    snapshot = dump(locate(state, Playhead(turn=2, segment=1, heard_ms=900)))
    async with call(stages.egress.stage, snapshot=snapshot) as egress:
        assert egress.stage.playhead == Playhead(turn=2, segment=1, heard_ms=900)
        egress.begin_audio(turn=2, at_ms=900)
        speak(egress)
        ended = await egress.publishes(PlaybackEnded, turn=2)
        assert ended.heard_ms == 900 + SPOKEN_MS
        assert not egress.published(PlaybackStarted), "the caller has heard of this turn before"


@in_virtual_time
async def test_a_new_owner_holds_and_publishes_the_position_again() -> None:
    async with call(stages.egress.stage, snapshot=after(*PLAYS, SpeechStarted(utterance=1, start_sample=0))) as egress:
        await egress.publishes(Paused, turn=2, utterance=1, heard_ms=0)
        speak(egress)
        await egress.wait_ms(1_000)
        assert not egress.sent
        egress.hear(ReplyResumed(utterance=1))
        await egress.publishes(Resumed, turn=2, utterance=1)
        await egress.publishes(PlaybackEnded, turn=2, interrupted=False)
        assert heard(egress.sent) == WORDS


@in_virtual_time
async def test_a_hold_that_awaits_a_decision_ends_under_a_new_owner_too() -> None:
    spoke = [SpeechStarted(utterance=1, start_sample=0), SpeechEnded(utterance=1, until_sample=9)]
    async with call(stages.egress.stage, snapshot=after(*PLAYS, *spoke)) as egress:
        await egress.publishes(Resumed, turn=2, utterance=1, reason="timeout")


@in_virtual_time
async def test_a_new_owner_ends_a_turn_that_was_cancelled_under_the_old_one() -> None:
    cancelled = after(*PLAYS, Paused(turn=2, segment=0, heard_ms=400, utterance=1), TurnCancelled(turn=2))
    async with call(stages.egress.stage, snapshot=cancelled) as egress:
        await egress.publishes(PlaybackEnded, turn=2, heard_ms=400, interrupted=True)
        egress.hear(TurnStarted(turn=3, answers=1))
        speak(egress, turn=3)
        await egress.publishes(PlaybackEnded, turn=3, interrupted=False)
        assert heard(egress.sent) == WORDS
