"""Each stage rebuilt from the state of the session, after every event, is the stage that lived through it."""

import asyncio
from random import Random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

import stages.egress.stage
import stages.llm.stage
from session import recoverable
from session.recoverable import EgressRecoverable
from session.state import SessionState, dump, load
from stages.egress.pacing import Pacing
from stages.llm import recovery
from stages.tts.unplayed import Unplayed
from tests.kit.clock import VirtualLoop
from tests.kit.stage import call
from tests.session.simulation import AGENT, HEARTBEAT_MS, STAGES, Simulation

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
            lived_tts = session.tts.recoverable
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


STEPS = st.lists(
    st.tuples(
        st.sampled_from("start start stop stop interim final final final type nothing nothing".split()),
        st.sampled_from(TEXTS),
        st.sampled_from([0, 1, 20, 300, 700, 2_600]),
        st.frozensets(st.sampled_from(STAGES), max_size=2),
    ),
    min_size=5,
    max_size=40,
)


async def live(steps: list[tuple[str, str, int, frozenset[str]]], random: Random, **agent: Any) -> None:
    async with call(stages.llm.stage, AGENT | agent) as llm, call(stages.egress.stage, transport="null") as egress:
        session = Simulation(llm, egress, random, check)
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


@settings(max_examples=200, deadline=None)
@given(STEPS, st.randoms(use_true_random=False))
def test_every_stage_is_rebuilt_from_the_fold_of_every_prefix(
    steps: list[tuple[str, str, int, frozenset[str]]], random: Random
) -> None:
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(live(steps, random))
