"""Events and turns as rows of a table, for `antiphon export`."""

from typing import Annotated, Any, NamedTuple

import msgspec

from schemas import events
from schemas.events import Event, SessionClosed, SessionOpened
from schemas.subjects import EGRESS, LLM, BadId, check_id
from session import latency, recoverable
from session.entries import Turn
from session.state import SessionState, fold

Row = dict[str, Any]
Columns = dict[str, type | str]  # name -> int, str, bool, or TIME

TIME = "time"  # UTC, integer microseconds
_STEPS = {
    latency.TRANSCRIPT: "transcript_ms",
    latency.END_OF_TURN: "end_of_turn_ms",
    latency.FIRST_WORD: "first_token_ms",
    latency.FIRST_AUDIO: "first_audio_ms",
    latency.HEARD: "audio_out_ms",
}

EVENTS: Columns = {
    "stream_seq": int,  # sequence number in the journal: a second run continues after it
    "kept": TIME,
    "event": str,
    "session": str,
    "agent": str,
    "turn": int,
    "epoch": int,
    "seq": int,
    "time": TIME,
    "fields": str,  # the event's own fields, JSON
}
TURNS: Columns = {
    "stream_seq": int,  # of the event that completed the turn
    "session": str,
    "agent": str,
    "turn": int,  # null: no turn answered these words
    "answers": int,
    "caller": str,
    "heard": str,
    "interrupted": bool,
    "cancelled": str,
    "started": TIME,
    "ended": TIME,
    "heard_ms": int,
    "counted_from": str,  # where the steps begin: end of speech, or for a greeting the start of the turn
    **dict.fromkeys(_STEPS.values(), int),
    "total_ms": int,
}


_Number = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]


class _Envelope(msgspec.Struct):
    """The fields of every event, also of one of a later version whose own fields are unknown here."""

    event: str
    session: str = ""
    agent: str = ""
    turn: _Number = 0
    epoch: _Number = 0
    seq: _Number = 0
    time: _Number = 0


_envelope = msgspec.msgpack.Decoder(_Envelope)


def fact_row(sequence: int, kept: int, data: bytes) -> Row | None:
    """Return an event of any version as a row; None for bytes that are no event."""
    try:
        envelope = msgspec.structs.asdict(_envelope.decode(data))
        own = {name: value for name, value in msgspec.msgpack.decode(data).items() if name not in envelope}
        fields = msgspec.json.encode(own).decode()
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError, TypeError, ValueError):
        return None
    return {"stream_seq": sequence, "kept": kept, **envelope, "fields": fields}


class _Call(NamedTuple):
    """A call: its state, and the turns that have their row."""

    state: SessionState
    told: frozenset[int]


class Turns:
    """Makes a row of each turn that is complete: its text and its audio have ended, or the call has closed.

    A call that closed before the agent answered the caller's last words has one more row, for those words.
    """

    def __init__(self) -> None:
        self._calls: dict[str, _Call] = {}
        self._closed: set[str] = set()

    def knows(self, event: Event) -> bool:
        """Return whether the event's call was followed from its first event. If not, read the earlier events first."""
        return event.session in self._calls or event.session in self._closed or isinstance(event, SessionOpened)

    def hear(self, sequence: int, event: Event) -> list[Row]:
        """Fold the next event of a call; return the rows of the turns that it completed."""
        if event.session in self._closed:
            return []
        state, told = self._calls.get(event.session, _Call(SessionState(), frozenset()))
        state = fold(state, event)
        closes = isinstance(event, SessionClosed)
        done = [
            number
            for number in (state.turns if closes else (event.turn,))
            if number not in told and _complete(state.turns.get(number), closes)
        ]
        if closes:
            self._calls.pop(event.session, None)
            self._closed.add(event.session)
        else:
            self._calls[event.session] = _Call(state, told.union(done))
        rows = [_turn_row(sequence, event.time, state, number) for number in done]
        if closes and (unanswered := _unanswered_row(sequence, event.time, state)):
            rows.append(unanswered)
        return rows


def _complete(turn: Turn | None, closes: bool) -> bool:
    if turn is None or not turn.started:
        return False
    return closes or (turn.heard is not None and turn.playback == "ended")


def _turn_row(sequence: int, now: int, state: SessionState, number: int) -> Row:
    turn = state.turns[number]
    falls = latency.waterfall(state, number)
    assert falls is not None  # the turn has started
    steps = {_STEPS[step.name]: step.length for step in falls.steps}
    return {
        "stream_seq": sequence,
        "session": state.session,
        "agent": state.agent,
        "turn": number,
        "answers": turn.answers,
        "caller": turn.text,
        "heard": turn.heard,
        "interrupted": turn.interrupted,
        "cancelled": turn.cancelled,
        "started": latency.by_ingress(state, LLM, turn.started),
        "ended": latency.by_ingress(state, EGRESS, turn.stopped) or now,
        "heard_ms": turn.heard_ms,
        "counted_from": falls.marks[0].name,
        **dict.fromkeys(_STEPS.values()),
        **steps,
        "total_ms": falls.total_ms,
    }


def _unanswered_row(sequence: int, now: int, state: SessionState) -> Row | None:
    """Return the row of the words that no turn answered before the call closed at `now`; None if there are none."""
    parts = [part for part in recoverable.turn_taking(state).unanswered if part.text.strip()]
    if not parts:
        return None
    return {
        **dict.fromkeys(TURNS),
        "stream_seq": sequence,
        "session": state.session,
        "agent": state.agent,
        "answers": parts[-1].utterance,
        "caller": " ".join(part.text.strip() for part in parts),
        "interrupted": False,
        "ended": now,
    }


def known_event(data: bytes) -> Event | None:
    """Return the event if it is one of this version and of a call, else None."""
    try:
        event = events.decode(data)
        check_id(event.session)
    except (events.BadEvent, BadId):
        return None
    return event
