"""Each stage rebuilt from the state of the session, after every event, is the stage that lived through it."""

import asyncio
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

import stages.egress.stage
import stages.llm.stage
import stages.tts.stage
from antiphon_testing.stage import call
from antiphon_testing.virtual_time import VirtualLoop
from schemas.control import Playhead
from schemas.events import (
    EchoRemoved,
    Event,
    PlaybackEnded,
    PlaybackStarted,
    SegmentSynthesized,
    SentenceReady,
    SpeechEnded,
    SpeechStarted,
    TranscriptFinal,
    TurnCancelled,
    TurnStarted,
)
from session import recoverable
from session.recoverable import EgressRecoverable, Playing, SttRecoverable, TtsRecoverable, UnfinishedUtterance
from session.state import SessionState, dump, fold, load, locate
from stages.egress.pacing import Pacing
from stages.llm import recovery
from stages.tts.unplayed import Unplayed
from tests.session.simulation import AGENT, HEARTBEAT_MS, STAGES, Simulation
from tests.session.told import Told

TEXTS = ["", "yeah", "no wait", "my number is", "When do you open?"]


def check(stage: str, session: Simulation) -> None:
    """The stage as it lives equals the one that its events give, and a stage that starts from those equals both."""
    seen = session.seen[stage]
    state = load(dump(seen))
    assert state == replace(seen, config={})
    match stage:
        case "stt":
            assert recoverable.stt(state) == session.stt.recoverable()
        case "llm":
            lived = session.llm.stage.recoverable()
            assert recoverable.llm(state) == lived
            resumed = recovery.resume(lived.turn_taking, session.llm.session.agent.turns, 0, greeting=True)
            assert recovery.turn_taking(resumed) == lived.turn_taking
        case "tts":
            lived_tts = session.tts.stage.recoverable()
            assert recoverable.tts(state) == lived_tts
            assert Unplayed(lived_tts).recoverable == lived_tts
        case "egress":
            lived_egress = session.egress.stage.recoverable()
            check_egress(recoverable.egress(state), lived_egress)
            assert Pacing(lived_egress).recoverable == lived_egress


def check_egress(derived: EgressRecoverable, lived: EgressRecoverable) -> None:
    """All is equal, and the position within one heartbeat."""
    for one, other in zip(derived.playing, lived.playing, strict=True):
        assert 0 <= other.heard_ms - one.heard_ms <= HEARTBEAT_MS, (one, other)
        assert one.segment <= other.segment
        if one.heard_ms == other.heard_ms:
            assert one.segment == other.segment
    assert replace(derived, playing=_anywhere(derived)) == replace(lived, playing=_anywhere(lived))


def _anywhere(egress: EgressRecoverable) -> tuple[recoverable.Playing, ...]:
    return tuple(replace(playing, segment=0, heard_ms=0) for playing in egress.playing)


# llm that decides later than egress waits: egress resumes by itself
PATIENT = {"interrupt_after_ms": 10_000, "resume_after_ms": 10_000, "decide_within_ms": 10_000}
STEPS = st.lists(
    st.tuples(
        st.sampled_from("start start stop stop interim final final final type nothing nothing".split()),
        st.sampled_from(TEXTS),
        st.sampled_from([0, 1, 20, 300, 700, 3_100]),
        st.frozensets(st.sampled_from(STAGES), max_size=2),
    ),
    min_size=5,
    max_size=40,
)


async def live(steps: list[tuple[str, str, int, frozenset[str]]], random: Random, **agent: Any) -> None:
    async with (
        call(stages.llm.stage, AGENT | agent) as llm,
        call(stages.tts.stage, AGENT) as tts,
        call(stages.egress.stage, transport="null") as egress,
    ):
        session = Simulation(llm, tts, egress, random, check)
        opens_at = random.randrange(3)
        for number, (step, text, wait_ms, lagging) in enumerate(steps):
            if number == opens_at:
                session.open()
            match step:
                case "start":
                    session.publish(*session.stt.start(session.at))
                case "interim":
                    session.publish(*session.stt.interim(session.at, text))
                case "stop":
                    session.publish(*session.stt.stop(session.at))
                case "final":
                    session.publish(*session.stt.transcribe(session.at, text, random))
                case "type" if number > opens_at:
                    session.caller_types()
            check("stt", session)
            await session.flush(lagging)
            await session.wait(wait_ms)
        await session.flush()
        assert session.seen["ingress"] == session.seen["llm"] == session.seen["tts"] == session.seen["stt"]
        check_same_but_for_positions(session.seen["egress"], session.seen["llm"])


def check_same_but_for_positions(egress: SessionState, other: SessionState) -> None:
    """Only the snapshot of egress was given positions between the events."""
    turns = [
        {number: replace(turn, segment=0, heard_ms=0) for number, turn in state.turns.items()}
        for state in (egress, other)
    ]
    assert turns[0] == turns[1]
    assert replace(egress, turns={}) == replace(other, turns={})


@settings(max_examples=300, deadline=None)
@given(STEPS, st.randoms(use_true_random=False), st.sampled_from([{}, PATIENT]))
def test_every_stage_is_rebuilt_from_the_fold_of_every_prefix(
    steps: list[tuple[str, str, int, frozenset[str]]], random: Random, turns: dict[str, int]
) -> None:
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(live(steps, random, turns=turns))


# --- by example -------------------------------------------------------------------------------------------------------


def state_of(*told: Event) -> SessionState:
    session = Told()
    session(*told)
    return session.state


def final(utterance: int, text: str, until: int, **fields: Any) -> TranscriptFinal:
    return TranscriptFinal(utterance=utterance, text=text, start_sample=0, until_sample=until, **fields)


def test_audio_is_recognized_again_from_the_first_utterance_without_its_transcript() -> None:
    spoke = [
        SpeechStarted(utterance=0, start_sample=1_000),
        SpeechEnded(utterance=0, until_sample=9_000),
        SpeechStarted(utterance=1, start_sample=20_000),
        SpeechEnded(utterance=1, until_sample=29_000),
    ]
    assert recoverable.stt(state_of(*spoke)).watermark == 1_000
    later_first = recoverable.stt(state_of(*spoke, final(1, "two", 29_000)))
    assert (later_first.watermark, later_first.next_utterance) == (1_000, 2), "utterance 0 would be lost"
    part = recoverable.stt(state_of(*spoke, final(0, "one", 5_000, last=False)))
    assert part.watermark == 5_000
    assert part.unfinished[0] == UnfinishedUtterance(0, 1_000, 9_000, 1, "one", 5_000)
    both = recoverable.stt(state_of(*spoke, final(1, "two", 29_000), final(0, "one", 9_000)))
    assert both == SttRecoverable(29_000, 2, (), 29_000)


def test_tts_speaks_again_from_the_first_sentence_that_was_not_played_to_its_end() -> None:
    told: list[Event] = [TurnStarted(turn=2, answers=0, time=7)]
    for segment, text in enumerate(["One.", "Two.", "Three.", ""]):
        told.append(SentenceReady(turn=2, segment=segment, text=text, last=not text))
    for segment in range(2):
        told.append(SegmentSynthesized(turn=2, segment=segment, duration_ms=1_000))
    state = state_of(*told, PlaybackStarted(turn=2, time=8))

    def left(heard_ms: int, segment: int) -> str:
        rest = recoverable.tts(locate(state, Playhead(2, segment, heard_ms)))
        assert (rest.turn, rest.complete) == (2, True)
        return " ".join(sentence.text for sentence in rest.sentences).strip()

    assert left(0, 0) == "One. Two. Three."
    assert left(980, 0) == "One. Two. Three."
    assert left(1_000, 0) == "Two. Three."
    assert left(1_400, 1) == "Two. Three."
    assert left(2_000, 1) == "Three."
    assert left(2_300, 2) == "Three."
    assert recoverable.tts(state_of(*told, TurnCancelled(turn=2))) == TtsRecoverable()


def test_a_position_never_goes_back_and_a_turn_that_ended_has_none() -> None:
    told = [TurnStarted(turn=2, answers=0, time=7), PlaybackStarted(turn=2, time=8)]
    state = locate(state_of(*told), Playhead(2, 1, 900))
    assert locate(state, Playhead(2, 0, 880)) is state
    assert recoverable.egress(state).playing == (Playing(2, 1, 900, sounded=True),)
    ended = state_of(*told, PlaybackEnded(turn=2, heard_ms=1_000))
    assert locate(ended, Playhead(2, 1, 1_100)) is ended
    assert recoverable.egress(ended) == EgressRecoverable(turn=2, over_below=3, decided=0)
    assert locate(ended, Playhead(9, 0, 20)) is ended, "a turn that nobody has published"


@pytest.mark.parametrize("place", [0, 1, 2])  # of llm's event among the two of stt
def test_the_agents_words_are_removed_in_whatever_order_two_stages_are_heard(place: int) -> None:
    said: list[Event] = [
        TranscriptFinal(utterance=0, text="you may ask. No, wait", start_sample=0, until_sample=9, last=False),
        TranscriptFinal(utterance=0, text="please.", start_sample=9, until_sample=19, part=1),
    ]
    said.insert(place, EchoRemoved(utterance=0, characters=len("you may ask. No, wait"), text="No, wait"))
    state = SessionState()
    for seq, event in enumerate(said):
        state = fold(state, replace(event, epoch=1, seq=seq))
    assert recoverable.caller_words(state, 0) == "No, wait please."
    assert state.utterances[0].text == "you may ask. No, wait please."
