"""Where a turn's time went, from the caller's last word to the agent's first sound, read off the call's events.

Each event carries the clock of the worker that published it. `by_ingress` subtracts the offset of that clock: the only
place that does.
"""

from itertools import pairwise
from typing import NamedTuple

from schemas.audio import CALLER_HZ
from schemas.subjects import EGRESS, LLM, STT
from session.entries import Turn, Utterance
from session.state import SessionState

END_OF_SPEECH = "end of speech"
TYPED = "text received"
TRANSCRIPT = "transcript final"
END_OF_TURN = "end of turn"  # until the pause is long enough for what was said
FIRST_WORD = "LLM first token"
FIRST_AUDIO = "TTS first audio"
HEARD = "first audio out"


class Mark(NamedTuple):
    """Something that happened, `at` milliseconds after the waterfall's beginning."""

    name: str
    at: int


class Step(NamedTuple):
    """One bar of the waterfall: what was waited for, from when, for how long; milliseconds."""

    name: str
    start: int
    length: int


class Waterfall(NamedTuple):
    """The marks of one turn that happened, in their order in the pipeline.

    The first, at 0, is the caller's end of speech or the text that it typed, whichever came last; for a greeting, which
    answers nothing, it is the start of the turn.
    began: its UTC microseconds.
    """

    turn: int
    began: int
    marks: tuple[Mark, ...]

    @property
    def steps(self) -> list[Step]:
        """The time between each mark and the next."""
        return [Step(after.name, before.at, after.at - before.at) for before, after in pairwise(self.marks)]

    @property
    def total_ms(self) -> int | None:
        """From the first mark to the first audio out; None while the caller has heard nothing."""
        return self.marks[-1].at if self.marks[-1].name == HEARD else None


def by_ingress(state: SessionState, stage: str, time_us: int) -> int:
    """Return the time of an event of `stage` by the clock of ingress; 0 stays 0, for an event that has not come.

    Times of samples, of typed texts and of the session are by that clock already.
    """
    return time_us - state.clock_offset_us.get(stage, 0) if time_us else 0


def waterfall(state: SessionState, number: int) -> Waterfall | None:
    """The waterfall of turn `number`, as far as it has come; None if the turn has not started.

    Clock offsets are known to a few milliseconds, and a transcript may be final before silence is certain. So a mark
    never lies before the one it follows: its step is 0 then. A mark that is missing leaves its time to the next.
    """
    turn = state.turns.get(number)
    if turn is None or not turn.started:
        return None
    utterance = state.utterances.get(-1 if turn.answers is None else turn.answers)
    text = state.texts.get(turn.typed)
    began, name = by_ingress(state, LLM, turn.started), "turn started"
    if utterance is not None and utterance.end is not None and state.started:
        began, name = state.started + utterance.end * 1_000_000 // CALLER_HZ, END_OF_SPEECH
    if text is not None and (name != END_OF_SPEECH or text.time > began):
        began, name, utterance = text.time, TYPED, None
    marks = [Mark(name, 0)]
    for mark, time in _times(state, turn, utterance):
        if time is not None:
            marks.append(Mark(mark, max((time - began) // 1000, marks[-1].at)))
    return Waterfall(number, began, tuple(marks))


def _times(state: SessionState, turn: Turn, utterance: Utterance | None) -> list[tuple[str, int | None]]:
    """Each mark's UTC microseconds by the clock of ingress, None where it has not come."""
    started = by_ingress(state, LLM, turn.started)
    token = None if turn.first_token_ms is None else started + turn.first_token_ms * 1000
    audio = None
    if turn.first_sentence and turn.first_audio_ms is not None:
        audio = by_ingress(state, LLM, turn.first_sentence) + turn.first_audio_ms * 1000
    return [
        (TRANSCRIPT, by_ingress(state, STT, utterance.final_time if utterance else 0) or None),
        (END_OF_TURN, started if utterance else None),
        (FIRST_WORD, token),
        (FIRST_AUDIO, audio),
        (HEARD, by_ingress(state, EGRESS, turn.playing) or None),
    ]
