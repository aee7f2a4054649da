"""The memory of the turn machine, recorded for a new owner of llm, and a machine that starts from it. Pure."""

from schemas.agent import Turns
from session.recoverable import SaidPart, TurnTaking
from stages.llm.states import Hearing, Held, Listening, Memory, Opening, Pausing, Speaking, State, Thinking, Turn
from stages.llm.utterances import End, Said, Utterance

FINAL_WITHIN_MS = 400  # of an utterance that ended before the takeover: the default of `stt.speech_ended`


def turn_taking(state: State) -> TurnTaking:
    """Return the part of a machine's state that outlives its owner."""
    memory = state.memory
    turn = state.turn if isinstance(state, Thinking | Speaking | Held) else None
    return TurnTaking(
        opened=not isinstance(state, Opening),
        turn=memory.turn,
        settled=memory.settled,
        missing=tuple(_part(utterance, assumed=utterance.text) for utterance in memory.missing),
        ending=memory.ending,
        active=turn.number if turn else 0,
        audible=isinstance(state, Speaking) or (isinstance(state, Held) and state.audible),
        answered=_parts(turn.answered) if turn else (),
        unanswered=_parts(state.said) if isinstance(state, Opening | Hearing | Pausing | Held) else (),
    )


def resume(taking: TurnTaking, rules: Turns, now_ms: int, *, greeting: bool, english: bool = True) -> State:
    """Return the machine that goes on from `taking`. Its waits begin at `now_ms`.

    greeting: whether the agent has a greeting to say, if the session has not opened. english: see `Memory`.
    """
    assumed = {part.utterance: part.assumed for part in taking.missing}

    def utterances(parts: tuple[SaidPart, ...]) -> Said:
        return tuple(_utterance(part, assumed.get(part.utterance), now_ms) for part in parts)

    memory = Memory(rules, taking.turn, taking.settled, utterances(taking.missing), taking.ending, english)
    said = utterances(taking.unanswered)
    if not taking.opened:
        return Opening(memory, greeting, said)
    if taking.active:
        turn = Turn(taking.active, utterances(taking.answered))
        if said:
            return Held(memory, turn, said, taking.audible)
        return Speaking(memory, turn) if taking.audible else Thinking(memory, turn)
    if not said:
        return Listening(memory)
    return Pausing(memory, said) if said[-1].end else Hearing(memory, said)


def _parts(said: Said) -> tuple[SaidPart, ...]:
    return tuple(_part(utterance) for utterance in said)


def _part(utterance: Utterance, assumed: str = "") -> SaidPart:
    return SaidPart(
        utterance.number,
        utterance.typed,
        utterance.start,
        utterance.text if utterance.final else utterance.certain,
        utterance.final,
        utterance.end is None,
        utterance.ends_turn,
        assumed,
        utterance.parts,
    )


def _utterance(part: SaidPart, assumed: str | None, now_ms: int) -> Utterance:
    end = None if part.open else End(now_ms, now_ms, final_within_ms=0 if part.final else FINAL_WITHIN_MS)
    return Utterance(
        number=part.utterance,
        started_ms=now_ms,
        start=part.start,
        text=part.text if part.final or assumed is None else assumed,
        end=end,
        final=part.final,
        ends_turn=part.end_of_turn,
        typed=part.typed,
        certain="" if part.typed else part.text,
        parts=part.parts,
    )
