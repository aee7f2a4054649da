"""The states of a conversation, the events that change them, and the actions that follow. Pure.

Opening    the session is being set up; the caller's words are kept
Listening  neither side speaks, and all words are answered
Hearing    the caller speaks
Pausing    the caller fell silent; the words or the pause are not complete yet
Thinking   the agent's turn, of which the caller has heard nothing yet
Speaking   the caller hears the agent
Held       the caller made a sound in the agent's turn: egress is silent until llm decides what it was
"""

from typing import ClassVar, get_args

import msgspec

from schemas.agent import Turns
from schemas.events import (
    PlaybackEnded,
    PlaybackStarted,
    Resumed,
    SessionOpened,
    TextReceived,
)
from stages.llm.pause import pause_ms, probably_finished
from stages.llm.utterances import Heard, Said, text_of

GREETING = 1  # the turn of the greeting; answers count from the next
NO_UTTERANCE = -1
HANGOVER_MS = 250  # voice activity detects silence this late: speech that looks open may have ended that long ago


class Deadline:
    """The input at a state's `deadline_ms`."""


TurnInput = SessionOpened | Heard | TextReceived | PlaybackStarted | PlaybackEnded | Resumed | Deadline
TURN_INPUTS: tuple[type[TurnInput], ...] = get_args(TurnInput)


# --- actions --------------------------------------------------------------------------------------------------------


class StartTurn(msgspec.Struct, frozen=True):
    """Start a turn that answers `text`. answers: the last utterance that it settles. typed: the last typed text."""

    turn: int
    answers: int
    text: str
    typed: int = 0


class Cancel(msgspec.Struct, frozen=True):
    """Cancel `turn`. carried: the caller heard nothing of it, so the next turn answers its text again."""

    turn: int
    carried: bool


class Resume(msgspec.Struct, frozen=True):
    """End holds for utterances up to `utterance`, which were no turn."""

    utterance: int


class EndTurn(msgspec.Struct, frozen=True):
    """File `turn` as history: the caller has heard all that will be played of it."""

    turn: int
    heard_ms: int
    interrupted: bool


Action = StartTurn | Cancel | Resume | EndTurn
Actions = tuple[Action, ...]


# --- states ---------------------------------------------------------------------------------------------------------


class Memory(msgspec.Struct, frozen=True):
    """The memory that every state has.

    turn: the last number given. settled: utterances up to this one were answered or dismissed.
    missing: those that were settled before their last transcript came; new words in it count as said later.
    ending: turns that were cancelled and whose playback has not ended yet. english: the caller's words can be judged.
    """

    rules: Turns = msgspec.field(default_factory=Turns)
    turn: int = GREETING
    settled: int = NO_UTTERANCE
    missing: Said = ()
    ending: tuple[int, ...] = ()
    english: bool = True


class Turn(msgspec.Struct, frozen=True):
    """The agent's turn and what it answers."""

    number: int
    answered: Said = ()


class State(msgspec.Struct, frozen=True):
    memory: Memory

    @property
    def deadline_ms(self) -> int | None:
        """Return when to step the state with `Deadline()`, None if it waits for nothing."""
        return None

    @property
    def foreseen(self) -> str:
        """Return the text that the agent will answer if the caller says no more; empty if that is unlikely."""
        return ""


class Opening(State, frozen=True):
    greeting: bool
    said: Said = ()


class Listening(State, frozen=True):
    said: ClassVar[Said] = ()


class Hearing(State, frozen=True):
    said: Said


class Pausing(State, frozen=True):
    said: Said

    @property
    def deadline_ms(self) -> int:
        """Return when the agent's turn begins: transcripts are final or overdue, and the pause is long enough."""
        ends = [(utterance, utterance.end) for utterance in self.said if utterance.end]
        finals_due = max((end.at_ms + end.final_within_ms for utterance, end in ends if not utterance.final), default=0)
        return max(finals_due, max(end.last_speech_ms for _, end in ends) + _delay_ms(self.said, self.memory))

    @property
    def foreseen(self) -> str:
        """Return words that will not change and are probably all."""
        certain = all(utterance.final for utterance in self.said)
        return text_of(self.said) if certain and _probably_finished(self.said, self.memory) else ""


class Thinking(State, frozen=True):
    turn: Turn
    said: ClassVar[Said] = ()


class Speaking(State, frozen=True):
    turn: Turn
    said: ClassVar[Said] = ()


class Held(State, frozen=True):
    turn: Turn
    said: Said
    audible: bool  # the caller has heard something of the turn

    @property
    def deadline_ms(self) -> int:
        """Return until when the sound may turn out to be no turn; then the words, or their absence, decide."""
        rules = self.memory.rules
        last = self.said[-1]
        if not last.end:
            patience = rules.decide_within_ms if last.backchannel else rules.interrupt_after_ms + HANGOVER_MS
            return last.started_ms + patience
        waits = (
            end.at_ms + min(max(rules.resume_after_ms, end.final_within_ms), rules.decide_within_ms)
            for utterance in self.said
            if (end := utterance.end) and not utterance.final
        )
        return max(waits, default=last.end.at_ms)


STATES: tuple[type[State], ...] = (Opening, Listening, Hearing, Pausing, Thinking, Speaking, Held)
Floor = Listening | Hearing | Pausing  # the caller's
Answering = Thinking | Speaking  # the agent's


def _delay_ms(said: Said, memory: Memory) -> int:
    """Return the pause after which the caller's turn counts as over."""
    rules = memory.rules
    spoken = tuple(utterance for utterance in said if utterance.has_words)
    if not spoken:
        return rules.min_delay_ms
    match spoken[-1].ends_turn:
        case True:
            return 0
        case False:
            return rules.max_delay_ms
        case None:
            return pause_ms(text_of(spoken), rules, english=memory.english)


def _probably_finished(said: Said, memory: Memory) -> bool:
    spoken = tuple(utterance for utterance in said if utterance.has_words)
    if not spoken:
        return True
    judged = spoken[-1].ends_turn
    return probably_finished(text_of(spoken), english=memory.english) if judged is None else judged
