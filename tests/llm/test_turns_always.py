"""What holds of the turn machine whatever happens: in a hostile world, and in one where others keep their word."""

import random
from dataclasses import dataclass, field
from itertools import repeat
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from schemas.agent import Turns
from schemas.events import (
    MOST_UNFINISHED,
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
from stages.llm.states import (
    HANGOVER_MS,
    Action,
    Cancel,
    Deadline,
    EndTurn,
    Held,
    Listening,
    Pausing,
    Resume,
    Speaking,
    StartTurn,
    State,
    Thinking,
    TurnInput,
)
from stages.llm.turns import TRANSITIONS, opening, step

OPENED = SessionOpened(owners={}, coordinator="c", transport="null", started_us=0, config={})
MAX_FINAL_MS = 3_000

RULES = st.builds(
    Turns,
    min_delay_ms=st.integers(0, 500),
    max_delay_ms=st.integers(500, 3_000),
    interrupt_after_ms=st.integers(0, 1_000),
    resume_after_ms=st.integers(0, 1_000),
    decide_within_ms=st.integers(100, 3_000),
)


@dataclass
class Witness:
    """Steps a machine and checks every step against what must hold of any."""

    state: State
    now_ms: int = 0
    started: list[StartTurn] = field(default_factory=list)
    carried: set[int] = field(default_factory=set)
    over: set[int] = field(default_factory=set)  # turns that were cancelled or ended
    ended: list[int] = field(default_factory=list)
    resumed: list[int] = field(default_factory=list)

    def tell(self, event: TurnInput) -> None:
        before = self.state
        self.state, actions = step(before, event, self.now_ms)
        row = TRANSITIONS.get((type(before), type(event)))
        allowed = {type(before), *(row.to if row else ())}
        assert type(self.state) in allowed, f"{type(before)} x {type(event)} -> {type(self.state)} is not in the table"
        for action in actions:
            self._check(action, event)
        self._check_state()

    def wait(self, ms: int) -> None:
        until = self.now_ms + ms
        for _ in range(10):  # one deadline may lead into the next state that waits, and no further
            due = self.state.deadline_ms
            if due is None or due > until:
                break
            self.now_ms = max(self.now_ms, due)
            self.tell(Deadline())
        else:
            raise AssertionError(f"{self.state} waits for ever")
        self.now_ms = until

    def _check(self, action: Action, event: TurnInput) -> None:
        match action:
            case StartTurn(turn, answers, text):
                assert not [one for one in self.started if one.turn not in self.over], "two turns at once"
                assert not self.started or turn > self.started[-1].turn
                assert not self.started or answers >= self.started[-1].answers
                assert bool(text) is (turn > 1), "only the greeting answers nothing"
                self.started.append(action)
            case Cancel(turn, carried):
                assert turn == self.started[-1].turn
                assert turn not in self.over
                self.over.add(turn)
                if carried:
                    self.carried.add(turn)
            case EndTurn(turn):
                assert isinstance(event, PlaybackEnded)
                assert turn not in self.ended, "history is written once"
                self.over.add(turn)
                self.ended.append(turn)
            case Resume(utterance):
                self.resumed.append(utterance)

    def _check_state(self) -> None:
        state = self.state
        active = [one.turn for one in self.started if one.turn not in self.over]
        if isinstance(state, Thinking | Speaking | Held):
            assert active == [state.turn.number]
        else:
            assert active == []
        if isinstance(state, Thinking) and self.started[-1].turn > 1:
            assert all(utterance.end for utterance in state.turn.answered), "answered while the caller spoke"
        if isinstance(state, Held | Pausing):
            rules = state.memory.rules
            longest = max(
                rules.decide_within_ms, rules.interrupt_after_ms + HANGOVER_MS, rules.max_delay_ms, MAX_FINAL_MS
            )
            assert state.deadline_ms is not None
            assert state.deadline_ms <= self.now_ms + longest, "a wait has a bound"
            assert all(utterance.end for utterance in state.said[:-1]), "a caller has one voice"
            assert state.said


# --- a hostile world: anything in any order ---------------------------------------------------------------------------

UTTERANCES = st.integers(0, 3)
TURNS = st.integers(0, 5)
TEXTS = st.sampled_from(["", "yeah", "I", "no wait", "my number is", "When do you open?"])
MS = st.integers(-100, 5_000)
POSITIONS = st.integers(0, 200_000)

TURN_INPUTS: st.SearchStrategy[Any] = st.one_of(
    st.just(OPENED),
    st.builds(SpeechStarted, utterance=UTTERANCES, start_sample=POSITIONS),
    st.builds(
        SpeechEnded,
        utterance=UTTERANCES,
        until_sample=POSITIONS,
        silence_ms=MS,
        final_within_ms=st.integers(-100, MAX_FINAL_MS),
    ),
    st.builds(TranscriptInterim, utterance=UTTERANCES, text=TEXTS, start_sample=POSITIONS, until_sample=POSITIONS),
    st.builds(
        TranscriptFinal,
        utterance=UTTERANCES,
        text=TEXTS,
        start_sample=POSITIONS,
        until_sample=POSITIONS,
        end_of_turn=st.sampled_from([None, True, False]),
    ),
    st.builds(TextReceived, text=st.sampled_from(["1", "👍"]), number=st.integers(1, 3)),
    st.builds(PlaybackStarted, turn=TURNS),
    st.builds(PlaybackEnded, turn=TURNS, heard_ms=MS, interrupted=st.booleans()),
    st.builds(Resumed, turn=TURNS, heard_ms=MS, utterance=UTTERANCES, reason=st.sampled_from(["decided", "timeout"])),
    st.just(Deadline()),
    st.integers(0, 3_000),  # time passes
)


@given(RULES, st.booleans(), st.lists(TURN_INPUTS, max_size=60))
@settings(max_examples=400)
def test_nothing_that_is_heard_in_whatever_order_breaks_the_conversation(
    rules: Turns, greeting: bool, told: list[Any]
) -> None:
    witness = Witness(opening(rules, greeting=greeting))
    for event in [OPENED, *told] if greeting else told:
        if isinstance(event, int):
            witness.wait(event)
        else:
            witness.tell(event)


@given(RULES, st.lists(TURN_INPUTS, max_size=40))
def test_every_hold_ends(rules: Turns, told: list[Any]) -> None:
    witness = Witness(opening(rules, greeting=True))
    for event in [OPENED, *told]:
        if isinstance(event, int):
            witness.wait(event)
        else:
            witness.tell(event)
    witness.wait(20_000)
    assert not isinstance(witness.state, Held | Pausing)


HELD: list[TurnInput] = [OPENED, PlaybackStarted(turn=1), SpeechStarted(utterance=0, start_sample=0)]
YEAH: list[TurnInput] = [
    TranscriptInterim(utterance=0, text="yeah", start_sample=0, until_sample=0),
    SpeechEnded(utterance=0, until_sample=20_000, silence_ms=0, final_within_ms=400),
]
BEGINNINGS: list[list[TurnInput]] = [[], [*HELD], [*HELD, *YEAH]]  # where most ways lead on from


def test_the_table_says_where_each_event_may_lead_no_more_and_no_less() -> None:
    seen = set()
    dice = random.Random(1)
    for _ in range(20_000):
        rules = Turns(min_delay_ms=dice.choice([0, 300]), resume_after_ms=dice.choice([0, 400]))
        state: State = opening(rules, greeting=dice.random() < 0.5)
        now_ms = 0
        for event in [*dice.choice(BEGINNINGS), *repeat(None, 17)]:
            before, event = state, event or _any_event(dice, state)
            now_ms += dice.choice([0, 0, 100, 400, 2_500])  # deadlines are missed as often as they are kept
            state, _ = step(before, event, now_ms)
            if type(state) is not type(before):
                seen.add((type(before), type(event), type(state)))
    assert seen == {(state, event, to) for (state, event), row in TRANSITIONS.items() for to in row.to}


def _any_event(dice: random.Random, state: State) -> TurnInput:
    utterance = dice.choice([0, 0, 0, 1, 2, 3])
    text = dice.choice(["", "yeah", "no wait", "When do you open?"])
    turn = state.turn.number if isinstance(state, Thinking | Speaking | Held) else dice.randint(1, 4)
    at, silence_ms, final_within_ms = dice.choice([0, 20_000]), dice.choice([0, 1_000]), dice.choice([0, 400])
    events: list[TurnInput] = [
        OPENED,
        SpeechStarted(utterance=utterance, start_sample=0),
        SpeechEnded(utterance=utterance, until_sample=at, silence_ms=silence_ms, final_within_ms=final_within_ms),
        TranscriptInterim(utterance=utterance, text=text, start_sample=0, until_sample=0),
        TranscriptFinal(
            utterance=utterance, text=text, start_sample=0, until_sample=0, end_of_turn=dice.choice([None, True])
        ),
        TextReceived(text="Stop.", number=dice.randint(1, 3)),
        PlaybackStarted(turn=turn),
        PlaybackEnded(turn=turn, heard_ms=1),
        Resumed(turn=turn, heard_ms=1, utterance=utterance, reason="timeout"),
        Deadline(),
    ]
    return dice.choice(events)


# --- a faithful world: nothing the caller said may be lost ------------------------------------------------------------


class Conversation(RuleBasedStateMachine):
    """stt and egress keep the protocol, as late as they like; every utterance says a word of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.witness = Witness(opening(Turns(), greeting=True))
        self.witness.tell(OPENED)
        self.utterance = -1
        self.speaking = False
        self.began_ms = 0
        self.owed: dict[int, str] = {}  # ended utterances whose final is still to come
        self.texts: dict[int, str] = {}
        self.typed: list[str] = []
        self.audible: set[int] = set()

    @property
    def active(self) -> int | None:
        state = self.witness.state
        return state.turn.number if isinstance(state, Thinking | Speaking | Held) else None

    @precondition(lambda self: not self.speaking and len(self.owed) < MOST_UNFINISHED)
    @rule(words=st.sampled_from(["word", "noise"]))
    def caller_starts(self, words: str) -> None:
        self.utterance += 1
        self.speaking = True
        self.began_ms = self.witness.now_ms
        self.texts[self.utterance] = f"word{self.utterance}" if words == "word" else ""
        self.witness.tell(SpeechStarted(utterance=self.utterance, start_sample=self.began_ms * 16))

    @precondition(lambda self: self.speaking)
    @rule()
    def interim(self) -> None:
        text = self.texts[self.utterance]
        self.witness.tell(TranscriptInterim(utterance=self.utterance, text=text, start_sample=0, until_sample=0))

    @precondition(lambda self: self.speaking)
    @rule(silence_ms=st.sampled_from([0, 250]))
    def caller_stops(self, silence_ms: int) -> None:
        self.speaking = False
        at = max(self.began_ms, self.witness.now_ms - silence_ms) * 16
        self.owed[self.utterance] = self.texts[self.utterance]
        self.witness.tell(
            SpeechEnded(utterance=self.utterance, until_sample=at, silence_ms=silence_ms, final_within_ms=400)
        )

    @precondition(lambda self: self.owed)
    @rule(data=st.data(), ends_turn=st.sampled_from([None, True, False]))
    def final(self, data: st.DataObject, ends_turn: bool | None) -> None:
        utterance = data.draw(st.sampled_from(sorted(self.owed)))
        text = self.owed.pop(utterance)
        self.witness.tell(
            TranscriptFinal(utterance=utterance, text=text, start_sample=0, until_sample=0, end_of_turn=ends_turn)
        )

    @rule()
    def caller_types(self) -> None:
        self.typed.append(f"typed{len(self.typed)}")
        self.witness.tell(TextReceived(text=self.typed[-1], number=len(self.typed)))
        newest = self.witness.started[-1]
        assert newest.text.split()[-1] == self.typed[-1], "it is answered at once, after all that was said before it"
        assert newest.typed == len(self.typed)

    @precondition(lambda self: self.active and self.active not in self.audible)
    @rule()
    def agent_is_heard(self) -> None:
        assert self.active
        self.audible.add(self.active)
        self.witness.tell(PlaybackStarted(turn=self.active))

    @precondition(lambda self: self.active in self.audible)
    @rule()
    def agent_is_heard_out(self) -> None:
        self.witness.tell(PlaybackEnded(turn=self.active or 0, heard_ms=900))

    @rule()
    def cancelled_turns_fall_silent(self) -> None:
        for turn in sorted(self.witness.over - set(self.witness.ended)):
            self.witness.tell(PlaybackEnded(turn=turn, heard_ms=100, interrupted=True))

    @rule(ms=st.sampled_from([1, 50, 300, 700, 4_000]))
    def time_passes(self, ms: int) -> None:
        self.witness.wait(ms)

    @invariant()
    def no_word_is_answered_twice(self) -> None:
        for text in [*filter(None, self.texts.values()), *self.typed]:
            assert self._answers(text) <= 1

    def teardown(self) -> None:
        """At the latest when all is said, every word has been answered once and every turn is history."""
        if self.speaking:
            self.caller_stops(0)
        for utterance, text in sorted(self.owed.items()):
            self.witness.tell(TranscriptFinal(utterance=utterance, text=text, start_sample=0, until_sample=0))
        self.owed.clear()
        self.witness.wait(10_000)
        for text in [*filter(None, self.texts.values()), *self.typed]:
            assert self._answers(text) == 1, f"{text} was not answered"
        if self.active:
            self.witness.tell(PlaybackEnded(turn=self.active, heard_ms=900))
        self.cancelled_turns_fall_silent()
        assert isinstance(self.witness.state, Listening)
        assert sorted(self.witness.ended) == [one.turn for one in self.witness.started]
        if self.utterance >= 0:  # whatever egress may be holding for, it has been told
            assert max(self.witness.resumed + [one.answers for one in self.witness.started]) == self.utterance

    def _answers(self, text: str) -> int:
        turns = [one for one in self.witness.started if one.turn not in self.witness.carried]
        return sum(one.text.split().count(text) for one in turns)


TestConversation = Conversation.TestCase
TestConversation.settings = settings(max_examples=150, stateful_step_count=40)
