"""Who has the floor: the states of a conversation, the events that change them, the actions that follow.

Opening    the call is being set up; what the caller says meanwhile is kept
Listening  nobody speaks and nothing is owed
Hearing    the caller speaks
Pausing    the caller fell silent; the words or the pause are not complete yet
Thinking   the agent's turn, of which nothing has been heard yet
Speaking   the agent is heard
Held       the caller made a sound in the agent's turn, so egress is silent until we decide what it was
"""

from typing import ClassVar

import msgspec

from schemas.agent import Turns
from schemas.events import (
    PlaybackEnded,
    PlaybackStarted,
    Resumed,
    SessionOpened,
    SpeechEnded,
    SpeechStarted,
    TextReceived,
    TranscriptFinal,
    TranscriptInterim,
)
from stages.llm.endpointing import sounds_unfinished
from stages.llm.utterances import Heard, Said, text_of

GREETING = 1  # the turn of the greeting; answers count from the next
NO_UTTERANCE = -1
HANGOVER_MS = 250  # voice activity tells of silence this late: speech that looks open may have ended that long ago


class Deadline:
    """The state's `deadline_ms` has come."""


TurnInput = SessionOpened | Heard | TextReceived | PlaybackStarted | PlaybackEnded | Resumed | Deadline
TURN_INPUTS: tuple[type[TurnInput], ...] = (
    SessionOpened,
    SpeechStarted,
    SpeechEnded,
    TranscriptInterim,
    TranscriptFinal,
    TextReceived,
    PlaybackStarted,
    PlaybackEnded,
    Resumed,
    Deadline,
)


# --- what the machine asks for --------------------------------------------------------------------------------------


class StartTurn(msgspec.Struct, frozen=True):
    """Take the floor and answer `text`; `answers` is the last utterance that this settles, `typed` the last text."""

    turn: int
    answers: int
    text: str
    typed: int = 0


class Cancel(msgspec.Struct, frozen=True):
    """No more of `turn`. carried: nothing of it was heard, so the next turn answers its text again."""

    turn: int
    carried: bool


class Resume(msgspec.Struct, frozen=True):
    """Utterances up to `utterance` were no turn: holds for them lift."""

    utterance: int


class EndTurn(msgspec.Struct, frozen=True):
    """The caller has heard of `turn` all that it will hear."""

    turn: int
    heard_ms: int
    interrupted: bool


Action = StartTurn | Cancel | Resume | EndTurn
Actions = tuple[Action, ...]


# --- states ---------------------------------------------------------------------------------------------------------


class Memory(msgspec.Struct, frozen=True):
    """What outlives a state.

    turn: the last number given. settled: utterances up to this one were answered or dismissed.
    missing: those settled before their final came; should it bring new words, they are heard after all.
    ending: turns that were cancelled and whose playback has not ended yet.
    """

    rules: Turns = msgspec.field(default_factory=Turns)
    turn: int = GREETING
    settled: int = NO_UTTERANCE
    missing: Said = ()
    ending: tuple[int, ...] = ()


class Turn(msgspec.Struct, frozen=True):
    """The agent's turn and what it answers."""

    number: int
    answered: Said = ()


class State(msgspec.Struct, frozen=True):
    memory: Memory

    @property
    def deadline_ms(self) -> int | None:
        """When the state wants to be stepped with `Deadline()`, None if it waits for nothing."""
        return None

    @property
    def foreseen(self) -> str:
        """What the agent will be asked if the caller says no more, as far as that is likely; else nothing."""
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
        """When it is the agent's turn: the finals are in or overdue, and the pause since the last speech is long."""
        ends = [(utterance, utterance.end) for utterance in self.said if utterance.end]
        finals_due = max((end.at_ms + end.final_within_ms for utterance, end in ends if not utterance.final), default=0)
        return max(finals_due, max(end.last_speech_ms for _, end in ends) + _delay_ms(self.said, self.memory.rules))

    @property
    def foreseen(self) -> str:
        """Words that will not change and sound complete."""
        rules = self.memory.rules
        certain = all(utterance.final for utterance in self.said)
        return text_of(self.said) if certain and _delay_ms(self.said, rules) <= rules.min_delay_ms else ""


class Thinking(State, frozen=True):
    turn: Turn
    said: ClassVar[Said] = ()


class Speaking(State, frozen=True):
    turn: Turn
    said: ClassVar[Said] = ()


class Held(State, frozen=True):
    turn: Turn
    said: Said
    audible: bool  # something of the turn has been heard

    @property
    def deadline_ms(self) -> int:
        """Until when the sound may still turn out to be nothing; then the words, or their absence, decide."""
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


def _delay_ms(said: Said, rules: Turns) -> int:
    """How long after the last speech the turn is taken to be over."""
    spoken = tuple(utterance for utterance in said if utterance.has_words)
    if not spoken:
        return rules.min_delay_ms
    match spoken[-1].ends_turn:
        case True:
            return 0
        case False:
            return rules.max_delay_ms
        case None:
            return rules.max_delay_ms if sounds_unfinished(text_of(spoken)) else rules.min_delay_ms
