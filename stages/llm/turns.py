"""The conversation as a table: who has the floor, what the caller's sounds mean, when the agent answers.

`step(state, event, now_ms)` is all there is. It knows no clock but `now_ms`: a state that waits has a `deadline_ms`, at
which the shell steps it with `Deadline()`. Every pair of a state and an event stands either in TRANSITIONS or in
IGNORED; docs/turns.md shows the table.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from msgspec.structs import replace

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
from session.words import joined, words
from stages.llm.states import (
    GREETING,
    NO_UTTERANCE,
    STATES,
    Actions,
    Answering,
    Cancel,
    Deadline,
    EndTurn,
    Floor,
    Hearing,
    Held,
    Listening,
    Memory,
    Opening,
    Pausing,
    Resume,
    Speaking,
    StartTurn,
    State,
    Thinking,
    Turn,
    TurnInput,
)
from stages.llm.utterances import Heard, Said, Utterance, close, complete, follow, merge, text_of, transcribe, type_in

Step = tuple[State, Actions]


def opening(rules: Turns, *, greeting: bool) -> Opening:
    """Where every call begins."""
    return Opening(Memory(rules), greeting)


def step(state: State, event: TurnInput, now_ms: int) -> Step:
    """The state after `event`, and what is to be done. A pair that is not in the table changes nothing."""
    row = TRANSITIONS.get((type(state), type(event)))
    return row.do(state, event, now_ms) if row else (state, ())


# --- opening --------------------------------------------------------------------------------------------------------


def collect(state: Opening, heard: Heard, now_ms: int) -> Step:
    """Nobody can answer yet; nothing is lost."""
    memory, said = _take_in(state.memory, state.said, heard, now_ms)
    return Opening(memory, state.greeting, said), ()


def collect_text(state: Opening, typed: TextReceived, now_ms: int) -> Step:
    """The same for what was typed."""
    return replace(state, said=type_in(state.said, typed, now_ms, state.memory.settled)), ()


def open_floor(state: Opening, _: SessionOpened, now_ms: int) -> Step:
    """Greet, unless the caller has already said something; a mere noise holds the greeting like any other turn."""
    if not state.greeting or text_of(state.said):
        return _go_on(state.memory, state.said, now_ms)
    turn = Turn(GREETING)
    greet = StartTurn(turn.number, NO_UTTERANCE, "")
    if not state.said:
        return Thinking(state.memory, turn), (greet,)
    held, actions = decide(Held(state.memory, turn, state.said, audible=False), Deadline(), now_ms)
    return held, (greet, *actions)


# --- the caller has the floor ---------------------------------------------------------------------------------------


def listen(state: Floor, heard: Heard, now_ms: int) -> Step:
    """Follow what the caller says until it is the agent's turn."""
    memory, said = _take_in(state.memory, state.said, heard, now_ms)
    return _go_on(memory, said, now_ms)


def wait_for_end_of_turn(state: Pausing, _: Deadline, now_ms: int) -> Step:
    """Answer when the pause is long enough; dismiss what turned out to hold no words."""
    text = text_of(state.said)
    overdue = now_ms >= state.deadline_ms
    if not text and (overdue or all(utterance.final for utterance in state.said)):
        memory = _settle(state.memory, state.said)
        return Listening(memory), (Resume(memory.settled),)
    if not overdue:
        return state, ()
    return _answer(state.memory, state.said)


def answer_text(state: Floor, typed: TextReceived, now_ms: int) -> Step:
    """What was typed waits for no pause: it is a turn, and whatever was said before it belongs to it."""
    return _answer(state.memory, type_in(state.said, typed, now_ms, state.memory.settled))


# --- the agent has the floor ----------------------------------------------------------------------------------------


def become_audible(state: Thinking, started: PlaybackStarted, now_ms: int) -> Step:
    """The first sound of the turn is out: from here on its text counts as answered."""
    return (Speaking(state.memory, state.turn) if started.turn == state.turn.number else state), ()


def hold(state: Answering, heard: Heard, now_ms: int) -> Step:
    """A new sound of the caller, or late words of an old one."""
    memory, said = _take_in(state.memory, state.said, heard, now_ms)
    turn = _complete(state.turn, heard, now_ms)
    if not said:
        return replace(state, memory=memory, turn=turn), ()
    return decide(Held(memory, turn, said, audible=isinstance(state, Speaking)), Deadline(), now_ms)


def interrupt(state: Answering, typed: TextReceived, now_ms: int) -> Step:
    """Who types means it: no hold, no doubt."""
    return interrupt_held(Held(state.memory, state.turn, (), audible=isinstance(state, Speaking)), typed, now_ms)


def end_turn(state: Answering, ended: PlaybackEnded, now_ms: int) -> Step:
    """The caller has heard the turn out."""
    if ended.turn != state.turn.number:
        return file_away(state, ended, now_ms)
    return Listening(state.memory), (_ended(ended),)


# --- held: was it a turn, or nothing? -------------------------------------------------------------------------------


def weigh(state: Held, heard: Heard, now_ms: int) -> Step:
    """More of the sound has become known."""
    memory, said = _take_in(state.memory, state.said, heard, now_ms)
    turn = _complete(state.turn, heard, now_ms)
    return decide(replace(state, memory=memory, turn=turn, said=said), Deadline(), now_ms)


def decide(state: Held, _: Deadline, now_ms: int) -> Step:
    """Cancel for words and for speech that is no cough; resume for a backchannel and for wordless noise."""
    if any(_interrupts(utterance, state.memory.rules) for utterance in state.said):
        return _cancel(state, now_ms)
    if now_ms < state.deadline_ms:
        return state, ()
    if not state.said[-1].end:
        return _cancel(state, now_ms)
    resumed = _back(state)
    return resumed, (Resume(resumed.memory.settled),)


def interrupt_held(state: Held, typed: TextReceived, now_ms: int) -> Step:
    """The sound goes with the text, whatever it was."""
    memory, said, cancel = _yield_floor(state)
    after, actions = _answer(memory, type_in(said, typed, now_ms, memory.settled))
    return after, (cancel, *actions)


def mark_audible(state: Held, started: PlaybackStarted, now_ms: int) -> Step:
    """The first sound had already gone out when the hold came."""
    return replace(state, audible=state.audible or started.turn == state.turn.number), ()


def accept_resumption(state: Held, resumed: Resumed, now_ms: int) -> Step:
    """Egress waited in vain and went on by itself. llm publishes that it agrees; late words can still stop the turn."""
    if resumed.reason != "timeout" or resumed.utterance < state.said[-1].number:
        return state, ()
    back = _back(state)
    return back, (Resume(back.memory.settled),)


def end_held_turn(state: Held, ended: PlaybackEnded, now_ms: int) -> Step:
    """The turn was over before the decision: whatever the caller is saying is now said to a listener."""
    if ended.turn != state.turn.number:
        return file_away(state, ended, now_ms)
    after, actions = _go_on(state.memory, state.said, now_ms)
    return after, (_ended(ended), *actions)


def file_away(state: State, ended: PlaybackEnded, now_ms: int) -> Step:
    """A turn that was cancelled before has fallen silent."""
    memory = state.memory
    if ended.turn not in memory.ending:
        return state, ()
    ending = tuple(turn for turn in memory.ending if turn != ended.turn)
    return replace(state, memory=replace(memory, ending=ending)), (_ended(ended),)


# --- the table ------------------------------------------------------------------------------------------------------


class Row(NamedTuple):
    """do: what happens. to: every state that it can lead to, beside the one that it starts from."""

    do: Callable[[Any, Any, int], Step]
    to: tuple[type[State], ...]


TRANSITIONS: dict[tuple[type[State], type[TurnInput]], Row] = {
    (Opening, SessionOpened): Row(open_floor, (Listening, Hearing, Pausing, Thinking, Held)),
    (Opening, SpeechStarted): Row(collect, ()),
    (Opening, SpeechEnded): Row(collect, ()),
    (Opening, TranscriptInterim): Row(collect, ()),
    (Opening, TranscriptFinal): Row(collect, ()),
    (Opening, TextReceived): Row(collect_text, ()),
    #
    (Listening, SpeechStarted): Row(listen, (Hearing,)),
    (Listening, TranscriptFinal): Row(listen, (Pausing, Thinking)),
    (Listening, TextReceived): Row(answer_text, (Thinking,)),
    (Listening, PlaybackEnded): Row(file_away, ()),
    #
    (Hearing, SpeechStarted): Row(listen, ()),
    (Hearing, SpeechEnded): Row(listen, (Pausing, Thinking, Listening)),
    (Hearing, TranscriptInterim): Row(listen, ()),
    (Hearing, TranscriptFinal): Row(listen, (Pausing, Thinking, Listening)),
    (Hearing, TextReceived): Row(answer_text, (Thinking,)),
    (Hearing, PlaybackEnded): Row(file_away, ()),
    #
    (Pausing, SpeechStarted): Row(listen, (Hearing, Thinking, Listening)),
    (Pausing, SpeechEnded): Row(listen, (Thinking, Listening)),
    (Pausing, TranscriptInterim): Row(listen, (Thinking, Listening)),
    (Pausing, TranscriptFinal): Row(listen, (Thinking, Listening)),
    (Pausing, TextReceived): Row(answer_text, (Thinking,)),
    (Pausing, Deadline): Row(wait_for_end_of_turn, (Thinking, Listening)),
    (Pausing, PlaybackEnded): Row(file_away, ()),
    #
    (Thinking, PlaybackStarted): Row(become_audible, (Speaking,)),
    (Thinking, SpeechStarted): Row(hold, (Held,)),
    (Thinking, TranscriptFinal): Row(hold, (Pausing,)),
    (Thinking, TextReceived): Row(interrupt, ()),
    (Thinking, PlaybackEnded): Row(end_turn, (Listening,)),
    #
    (Speaking, SpeechStarted): Row(hold, (Held,)),
    (Speaking, TranscriptFinal): Row(hold, (Pausing, Thinking)),
    (Speaking, TextReceived): Row(interrupt, (Thinking,)),
    (Speaking, PlaybackEnded): Row(end_turn, (Listening,)),
    #
    (Held, SpeechStarted): Row(weigh, (Hearing, Thinking, Speaking)),
    (Held, SpeechEnded): Row(weigh, (Hearing, Pausing, Thinking, Listening, Speaking)),
    (Held, TranscriptInterim): Row(weigh, (Hearing, Pausing, Thinking, Listening, Speaking)),
    (Held, TranscriptFinal): Row(weigh, (Hearing, Pausing, Thinking, Listening, Speaking)),
    (Held, TextReceived): Row(interrupt_held, (Thinking,)),
    (Held, Deadline): Row(decide, (Hearing, Thinking, Speaking)),
    (Held, PlaybackStarted): Row(mark_audible, ()),
    (Held, Resumed): Row(accept_resumption, (Thinking, Speaking)),
    (Held, PlaybackEnded): Row(end_held_turn, (Listening, Hearing, Pausing, Thinking)),
}

IGNORED: frozenset[tuple[type[State], type[TurnInput]]] = frozenset(
    {
        # A call opens once.
        *((state, SessionOpened) for state in STATES if state is not Opening),
        # Who waits for nothing was woken by a deadline that has passed into another state.
        *((state, Deadline) for state in STATES if state not in (Pausing, Held)),
        # Only a hold can be lifted, by egress or by anyone.
        *((state, Resumed) for state in STATES if state is not Held),
        # The sound of a turn that is cancelled or has not begun.
        *((state, PlaybackStarted) for state in (Opening, Listening, Hearing, Pausing, Speaking)),
        (Opening, PlaybackEnded),
        # Without an open utterance there is nothing that could end or go on; its words come with the final.
        *((state, SpeechEnded) for state in (Listening, Thinking, Speaking)),
        *((state, TranscriptInterim) for state in (Listening, Thinking, Speaking)),
    }
)


# --- what the transitions are made of -------------------------------------------------------------------------------


def _take_in(memory: Memory, said: Said, heard: Heard, now_ms: int) -> tuple[Memory, Said]:
    """What is unanswered after `heard`. A final that was given up counts if it says anything new."""
    late = next((utterance for utterance in memory.missing if utterance.number == heard.utterance), None)
    followed = follow(said, heard, now_ms, memory.settled)
    if not isinstance(heard, TranscriptFinal) or not late:
        return memory, followed
    if not heard.last:
        return replace(memory, missing=merge(memory.missing, (_part(late, heard),))), followed
    memory = replace(memory, missing=tuple(utterance for utterance in memory.missing if utterance is not late))
    whole = transcribe(late, heard, now_ms)
    return memory, followed if words(late.text) == words(whole.text) else merge(said, (whole,))


def _part(late: Utterance, heard: TranscriptFinal) -> Utterance:
    """A part, not the last, of a transcript that was given up: `text` stays what was answered."""
    return replace(late, certain=joined(late.certain, heard.text) if heard.part else heard.text)


def _complete(turn: Turn, heard: Heard, now_ms: int) -> Turn:
    """The turn with late words of what it answers, for the case that it is cancelled before it is heard."""
    if not isinstance(heard, TranscriptFinal) or all(one.number != heard.utterance for one in turn.answered):
        return turn
    return replace(turn, answered=complete(turn.answered, heard, now_ms))


def _go_on(memory: Memory, said: Said, now_ms: int) -> Step:
    """The caller has the floor: is it speaking, pausing, or done?"""
    if not said:
        return Listening(memory), ()
    if not said[-1].end:
        return Hearing(memory, said), ()
    return wait_for_end_of_turn(Pausing(memory, said), Deadline(), now_ms)


def _answer(memory: Memory, said: Said) -> Step:
    """The agent's turn, which answers all that was said."""
    memory = replace(_settle(memory, said), turn=memory.turn + 1)
    typed = max(utterance.typed for utterance in said)
    return Thinking(memory, Turn(memory.turn, said)), (StartTurn(memory.turn, memory.settled, text_of(said), typed),)


def _settle(memory: Memory, said: Said) -> Memory:
    """`said` is answered or dismissed; finals that have not come are remembered as missing."""
    missing = merge(memory.missing, tuple(utterance for utterance in said if not utterance.final))[-MOST_UNFINISHED:]
    return replace(memory, settled=max(memory.settled, said[-1].number), missing=missing)


def _cancel(state: Held, now_ms: int) -> Step:
    """The caller takes the floor."""
    memory, said, cancel = _yield_floor(state)
    after, actions = _go_on(memory, said, now_ms)
    return after, (cancel, *actions)


def _yield_floor(state: Held) -> tuple[Memory, Said, Cancel]:
    """The agent's turn is over; what it was to answer comes back if nothing of it was heard."""
    carried = () if state.audible else state.turn.answered
    memory = replace(state.memory, ending=(*state.memory.ending, state.turn.number))
    return memory, merge(carried, state.said), Cancel(state.turn.number, carried=bool(carried))


def _back(state: Held) -> Answering:
    """The agent's turn goes on where it was."""
    memory = _settle(state.memory, close(state.said, state.said[-1].started_ms))
    return Speaking(memory, state.turn) if state.audible else Thinking(memory, state.turn)


def _interrupts(utterance: Utterance, rules: Turns) -> bool:
    if utterance.has_words:
        return not utterance.backchannel
    return not utterance.final and utterance.end is not None and utterance.end.lasted_ms >= rules.interrupt_after_ms


def _ended(ended: PlaybackEnded) -> EndTurn:
    return EndTurn(ended.turn, ended.heard_ms, ended.interrupted)
