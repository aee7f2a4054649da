"""The turn machine as a table: who has the floor, what the caller's sounds mean, when the agent answers. Pure.

`step(state, event, now_ms)` is the whole interface. It knows no clock but `now_ms`: a state that waits has a
`deadline_ms`, at which the stage steps it with `Deadline()`. Every pair of a state and an event stands either in
TRANSITIONS or in IGNORED; docs/turns.md shows the table.
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
from session.words import words
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
from stages.llm.utterances import (
    Heard,
    Said,
    Utterance,
    append,
    close,
    complete,
    follow,
    merge,
    text_of,
    transcribe,
    type_in,
)

Step = tuple[State, Actions]

NEVER_MS = 24 * 3_600_000  # longer than any session


def opening(rules: Turns, *, greeting: bool, english: bool = True) -> Opening:
    """Return the state in which every session begins. english: the caller's words can be judged."""
    return Opening(Memory(rules, english=english), greeting)


def step(state: State, event: TurnInput, now_ms: int) -> Step:
    """Return the state after `event`, and the actions. A pair that is not in the table changes nothing."""
    row = TRANSITIONS.get((type(state), type(event)))
    return row.do(state, event, now_ms) if row else (state, ())


def expect_echo(state: State) -> State:
    """Return the state in which words alone interrupt the agent: the caller's sounds may be the agent's own."""
    rules = state.memory.rules.model_copy(update={"interrupt_after_ms": NEVER_MS})
    return replace(state, memory=replace(state.memory, rules=rules))


# --- opening --------------------------------------------------------------------------------------------------------


def collect(state: Opening, heard: Heard, now_ms: int) -> Step:
    """Keep the caller's words until the session opens."""
    memory, said = _take_in(state.memory, state.said, heard, now_ms)
    return Opening(memory, state.greeting, said), ()


def collect_text(state: Opening, typed: TextReceived, now_ms: int) -> Step:
    """Keep a typed text until the session opens."""
    return replace(state, said=type_in(state.said, typed, now_ms, state.memory.settled)), ()


def open_floor(state: Opening, _: SessionOpened, now_ms: int) -> Step:
    """Greet, unless the caller has already said words; a mere noise holds the greeting like any other turn."""
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
    """Follow the caller until it is the agent's turn."""
    memory, said = _take_in(state.memory, state.said, heard, now_ms)
    return _go_on(memory, said, now_ms)


def wait_for_end_of_turn(state: Pausing, _: Deadline, now_ms: int) -> Step:
    """Answer when the pause is long enough; dismiss utterances without words."""
    text = text_of(state.said)
    overdue = now_ms >= state.deadline_ms
    if not text and (overdue or all(utterance.final for utterance in state.said)):
        memory = _settle(state.memory, state.said)
        return Listening(memory), (Resume(memory.settled),)
    if not overdue:
        return state, ()
    return _answer(state.memory, state.said)


def answer_text(state: Floor, typed: TextReceived, now_ms: int) -> Step:
    """Answer a typed text at once, together with the words that were said before it."""
    return _answer(state.memory, type_in(state.said, typed, now_ms, state.memory.settled))


# --- the agent has the floor ----------------------------------------------------------------------------------------


def become_audible(state: Thinking, started: PlaybackStarted, now_ms: int) -> Step:
    """The caller hears the turn: from here on it counts as an answer."""
    return (Speaking(state.memory, state.turn) if started.turn == state.turn.number else state), ()


def hold(state: Answering, heard: Heard, now_ms: int) -> Step:
    """Hold the agent for a new sound of the caller, or for late words of an earlier one."""
    memory, said = _take_in(state.memory, state.said, heard, now_ms)
    turn = _complete(state.turn, heard, now_ms)
    if not said:
        return replace(state, memory=memory, turn=turn), ()
    return decide(Held(memory, turn, said, audible=isinstance(state, Speaking)), Deadline(), now_ms)


def interrupt(state: Answering, typed: TextReceived, now_ms: int) -> Step:
    """Typed text interrupts at once, without a hold."""
    return interrupt_held(Held(state.memory, state.turn, (), audible=isinstance(state, Speaking)), typed, now_ms)


def end_turn(state: Answering, ended: PlaybackEnded, now_ms: int) -> Step:
    """End the turn, which the caller has heard to its end."""
    if ended.turn != state.turn.number:
        return file_away(state, ended, now_ms)
    return Listening(state.memory), (_ended(ended),)


# --- held: was it a turn, or nothing? -------------------------------------------------------------------------------


def weigh(state: Held, heard: Heard, now_ms: int) -> Step:
    """Decide again, as more of the sound is known."""
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
    """Typed text interrupts at once; the sound belongs to the same turn."""
    memory, said, cancel = _yield_floor(state)
    after, actions = _answer(memory, type_in(said, typed, now_ms, memory.settled))
    return after, (cancel, *actions)


def mark_audible(state: Held, started: PlaybackStarted, now_ms: int) -> Step:
    """Note that the caller heard the first sound before the hold."""
    return replace(state, audible=state.audible or started.turn == state.turn.number), ()


def accept_resumption(state: Held, resumed: Resumed, now_ms: int) -> Step:
    """Accept that egress resumed by itself after its timeout, and publish it; late words can still stop the turn."""
    if resumed.reason != "timeout" or resumed.utterance < state.said[-1].number:
        return state, ()
    back = _back(state)
    return back, (Resume(back.memory.settled),)


def end_held_turn(state: Held, ended: PlaybackEnded, now_ms: int) -> Step:
    """End the turn, which was played before the decision. The caller has the floor."""
    if ended.turn != state.turn.number:
        return file_away(state, ended, now_ms)
    after, actions = _go_on(state.memory, state.said, now_ms)
    return after, (_ended(ended), *actions)


def file_away(state: State, ended: PlaybackEnded, now_ms: int) -> Step:
    """File a turn that was cancelled before, and whose playback has ended."""
    memory = state.memory
    if ended.turn not in memory.ending:
        return state, ()
    ending = tuple(turn for turn in memory.ending if turn != ended.turn)
    return replace(state, memory=replace(memory, ending=ending)), (_ended(ended),)


# --- the table ------------------------------------------------------------------------------------------------------


class Row(NamedTuple):
    """do: the transition. to: every state that it can lead to, beside the one that it starts from."""

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
        # A session opens once.
        *((state, SessionOpened) for state in STATES if state is not Opening),
        # A deadline may come after the state that waited for it.
        *((state, Deadline) for state in STATES if state not in (Pausing, Held)),
        # Only a hold can end.
        *((state, Resumed) for state in STATES if state is not Held),
        # The turn is cancelled or has not begun.
        *((state, PlaybackStarted) for state in (Opening, Listening, Hearing, Pausing, Speaking)),
        (Opening, PlaybackEnded),
        # Without an open utterance nothing can end or go on; its words come with the final transcript.
        *((state, SpeechEnded) for state in (Listening, Thinking, Speaking)),
        *((state, TranscriptInterim) for state in (Listening, Thinking, Speaking)),
    }
)


# --- what the transitions are made of -------------------------------------------------------------------------------


def _take_in(memory: Memory, said: Said, heard: Heard, now_ms: int) -> tuple[Memory, Said]:
    """Return what is unanswered after `heard`. A late transcript counts if it brings new words."""
    late = next((utterance for utterance in memory.missing if utterance.number == heard.utterance), None)
    followed = follow(said, heard, now_ms, memory.settled)
    if not isinstance(heard, TranscriptFinal) or not late:
        return memory, followed
    if not heard.last:
        # `text` stays the words that were answered, until the last part shows whether there are more
        return replace(memory, missing=merge(memory.missing, (append(late, heard),))), followed
    memory = replace(memory, missing=tuple(utterance for utterance in memory.missing if utterance is not late))
    whole = transcribe(late, heard, now_ms)
    return memory, followed if words(late.text) == words(whole.text) else merge(said, (whole,))


def _complete(turn: Turn, heard: Heard, now_ms: int) -> Turn:
    """Return the turn with late words of what it answers, in case it is cancelled before the caller hears it."""
    if not isinstance(heard, TranscriptFinal) or all(one.number != heard.utterance for one in turn.answered):
        return turn
    return replace(turn, answered=complete(turn.answered, heard, now_ms))


def _go_on(memory: Memory, said: Said, now_ms: int) -> Step:
    """Return the state in which the caller has the floor: speaking, pausing, or done."""
    if not said:
        return Listening(memory), ()
    if not said[-1].end:
        return Hearing(memory, said), ()
    return wait_for_end_of_turn(Pausing(memory, said), Deadline(), now_ms)


def _answer(memory: Memory, said: Said) -> Step:
    """Start the agent's turn, which answers all of `said`."""
    memory = replace(_settle(memory, said), turn=memory.turn + 1)
    typed = max(utterance.typed for utterance in said)
    return Thinking(memory, Turn(memory.turn, said)), (StartTurn(memory.turn, memory.settled, text_of(said), typed),)


def _settle(memory: Memory, said: Said) -> Memory:
    """Note that `said` is answered or dismissed, and which of its last transcripts are missing."""
    missing = merge(memory.missing, tuple(utterance for utterance in said if not utterance.final))[-MOST_UNFINISHED:]
    return replace(memory, settled=max(memory.settled, said[-1].number), missing=missing)


def _cancel(state: Held, now_ms: int) -> Step:
    """Cancel the agent's turn and give the floor to the caller."""
    memory, said, cancel = _yield_floor(state)
    after, actions = _go_on(memory, said, now_ms)
    return after, (cancel, *actions)


def _yield_floor(state: Held) -> tuple[Memory, Said, Cancel]:
    """End the agent's turn; its text is unanswered again if the caller heard nothing of it."""
    carried = () if state.audible else state.turn.answered
    memory = replace(state.memory, ending=(*state.memory.ending, state.turn.number))
    return memory, merge(carried, state.said), Cancel(state.turn.number, carried=bool(carried))


def _back(state: Held) -> Answering:
    """Return the agent's turn as it was before the hold."""
    memory = _settle(state.memory, close(state.said, state.said[-1].started_ms))
    return Speaking(memory, state.turn) if state.audible else Thinking(memory, state.turn)


def _interrupts(utterance: Utterance, rules: Turns) -> bool:
    if utterance.has_words:
        return not utterance.backchannel
    return not utterance.final and utterance.end is not None and utterance.end.lasted_ms >= rules.interrupt_after_ms


def _ended(ended: PlaybackEnded) -> EndTurn:
    return EndTurn(ended.turn, ended.heard_ms, ended.interrupted)
