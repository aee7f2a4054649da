"""A session as a pure fold of its events: the snapshot of a takeover, and the state that the CLI and the page show.

The fold gives the same state in every order of arrival. Events of one stage arrive in the order of publication; events
of different stages interleave. So each field below is written by one stage alone, the first event about an entry makes
the entry, and all that compares two stages (busy, agent_state, transcript) is derived on reading. A watermark
(epoch, seq) per stage makes a repeated event harmless. Events of a replaced owner are dropped.

session/recoverable.py derives from the state what a new owner of a stage starts with.
"""

from typing import Any

import msgspec
from msgspec.structs import replace

from schemas import events
from schemas.control import Playhead
from schemas.events import Applies, Event, Missing, Owner
from session.entries import AgentState, OwnWords, Playback, Segment, Text, TranscriptEntry, Turn, Utterance
from session.retention import (
    KEEP,
    KEEP_SEGMENTS,
    KEEP_SPOKEN,
    KEEP_TEXTS,
    KEEP_UTTERANCES,
    aged,
    history_of,
    newest,
    put,
    short_text,
    short_turn,
    short_utterance,
)
from session.words import joined


class SessionState(msgspec.Struct, frozen=True, omit_defaults=True):
    """Everything that a session's events say so far. Only the newest KEEP turns and utterances are kept.

    ingress: owners, cuts (stage -> (epoch, seq) of the old owner's last event in the new owner's snapshot),
    clock_offset_us (stage -> its owner's clock minus the clock of ingress), started (UTC microseconds of sample 0 of
    the caller's audio), greets (the agent has a greeting to say), config, config_version and applies (the agent
    document of this session, without secrets), texts, closed (why).
    stt: utterances; until, the sample up to which the caller's words are final.
    llm: turns, in part; settled and settled_text, the last utterance and text that were answered or dismissed; missing,
    the settled utterances whose last transcript llm had not received at that time; history, the turns whose words are
    kept whole -> their characters; echoes, the caller's line brings the agent's words back; own_words, of
    utterances with such words.
    egress: turns, in part; released, the last utterance whose hold egress ended by itself.
    after: stage -> (epoch, seq) of its last event in here.
    """

    session: str = ""
    agent: str = ""
    transport: str = ""
    coordinator: str = ""
    started: int = 0
    greets: bool = False
    owners: dict[str, Owner] = {}
    after: dict[str, tuple[int, int]] = {}
    until: int = 0
    settled: int = -1
    settled_text: int = 0
    utterances: dict[int, Utterance] = {}
    texts: dict[int, Text] = {}
    turns: dict[int, Turn] = {}
    closed: str | None = None
    config: dict[str, Any] = {}  # Any: an agent document, which a reader validates
    config_version: int = 0
    applies: Applies = "pinned"
    cuts: dict[str, tuple[int, int]] = {}
    clock_offset_us: dict[str, int] = {}
    missing: tuple[Missing, ...] = ()
    history: dict[int, int] = {}
    released: int = -1
    echoes: bool = False
    own_words: dict[int, OwnWords] = {}

    @property
    def caller_speaks(self) -> bool:
        """An utterance is open."""
        return any(utterance.end is None for utterance in self.utterances.values())

    @property
    def speaking(self) -> int:
        """The turn that the caller hears now, 0 for none."""
        if self.closed is not None:
            return 0
        return next((number for number, turn in self.turns.items() if turn.playback == "playing"), 0)

    @property
    def busy(self) -> bool:
        """Something is pending: the opening, speech, its transcript, its answer, a greeting, a turn not yet history."""
        if self.closed is not None:
            return False
        if not self.started:
            return True
        started = [turn for turn in self.turns.values() if turn.started]
        if self.greets and not started:
            return True
        if self.speaking or (started and started[-1].heard is None):  # a turn below the newest is cancelled
            return True
        if max(self.texts, default=0) > self.settled_text:
            return True
        return any(
            utterance.end is None or not utterance.final or (utterance.text and number > self.settled)
            for number, utterance in self.utterances.items()
        )

    @property
    def agent_state(self) -> AgentState:
        """The agent's state as a caller perceives it."""
        if self.speaking:
            return "speaking"
        return "thinking" if self.busy and not self.caller_speaks else "listening"

    @property
    def transcript(self) -> list[TranscriptEntry]:
        """Who said what, in order; of the agent what was heard, and of the turn still going on what it means to say."""
        lines: list[TranscriptEntry] = []
        spoken = [TranscriptEntry("caller", said.text, number) for number, said in self.utterances.items() if said.text]
        typed = [TranscriptEntry("caller", said.text, number, typed=True) for number, said in self.texts.items()]
        for number, turn in self.turns.items():
            while turn.answers is not None and spoken and spoken[0].number <= turn.answers:
                lines.append(spoken.pop(0))
            while typed and typed[0].number <= turn.typed:
                lines.append(typed.pop(0))
            text = turn.reply if turn.heard is None else turn.heard
            if text:
                lines.append(TranscriptEntry("agent", text, number))
        return lines + spoken + typed


# --- snapshots --------------------------------------------------------------------------------------------------------


def dump(state: SessionState) -> bytes:
    """Return the snapshot of `Start`: msgpack, without the agent document, which `Start` carries beside it."""
    return msgspec.msgpack.encode(replace(state, config={}))


def load(snapshot: bytes) -> SessionState:
    """Return the state in a snapshot; of an empty one, the state before the first event. Raises MsgspecError."""
    return msgspec.msgpack.decode(snapshot, type=SessionState) if snapshot else SessionState()


# --- the fold ---------------------------------------------------------------------------------------------------------


def fold(state: SessionState, event: Event) -> SessionState:
    """Return `state` with `event`; `state` itself for an ephemeral, a repeated event, or one of a replaced owner."""
    stage = events.stage(event)
    published = (event.epoch, event.seq)
    owner = state.owners.get(stage)
    dead = owner is not None and event.epoch < owner.epoch
    if dead or isinstance(event, events.EPHEMERAL) or published <= state.after.get(stage, (-1, -1)):
        return state
    known: dict[str, Any] = {
        "session": event.session,
        "agent": event.agent,
        "after": put(state.after, stage, published),
    }
    return replace(state, **known, **_changes(state, event))


def locate(state: SessionState, playhead: Playhead) -> SessionState:
    """Return `state` with the position that a heartbeat of egress reports; positions of a turn never go back."""
    turn = state.turns.get(playhead.turn)
    if turn is None or turn.playback == "ended" or playhead.heard_ms <= turn.heard_ms:
        return state
    moved = replace(turn, segment=max(turn.segment, playhead.segment), heard_ms=playhead.heard_ms)
    return replace(state, turns=put(state.turns, playhead.turn, moved))


def _changes(state: SessionState, event: Event) -> dict[str, Any]:
    """Return the fields of `state` that `event` changes, beside those of every event. Any: values of its fields."""
    match event:
        case events.SessionOpened():
            return {
                "owners": event.owners,
                "coordinator": event.coordinator,
                "transport": event.transport,
                "started": event.started_us,
                "greets": bool(event.config.get("greeting")),
                "config": event.config,
                "clock_offset_us": event.clock_offset_us,
            }
        case events.OwnerChanged(stage=stage):
            return {
                "owners": put(state.owners, stage, Owner(event.worker, event.owner_epoch)),
                "cuts": put(state.cuts, stage, event.cut) if event.cut else state.cuts,
                "clock_offset_us": put(state.clock_offset_us, stage, event.clock_offset_us),
            }
        case events.ConfigChanged():
            return {"config": event.config, "config_version": event.version, "applies": event.applies}
        case events.TextReceived():
            return {"texts": _text(state.texts, event)}
        case events.SessionClosed():
            return {"closed": event.reason}
        case events.SpeechStarted():
            return _utterance(state, event.utterance, start=event.start_sample)
        case events.SpeechEnded():
            return _utterance(state, event.utterance, end=event.until_sample)
        case events.TranscriptFinal():
            return _transcript(state, event)
        case events.TurnStarted():
            history = history_of({**state.history, event.turn: len(event.text)})
            asked: dict[str, Any] = {
                "answers": event.answers,
                "typed": event.typed,
                "parts": event.parts,
                "text": event.text,
            }
            return {
                "settled": max(state.settled, event.answers),
                "settled_text": max(state.settled_text, event.typed),
                "missing": event.missing,
                "history": history,
                "turns": _turn(state, event.turn, history, **asked, started=event.time),
            }
        case events.ReplyResumed():
            settled = max(state.settled, event.utterance)
            return {"settled": settled, "missing": event.missing, "echoes": state.echoes or event.echo}
        case events.EchoRemoved():
            own = put(state.own_words, event.utterance, OwnWords(event.text, event.characters))
            return {"own_words": newest(own, KEEP_UTTERANCES)}
        case events.SentenceReady():
            first: dict[str, Any] = (
                {"first_token_ms": event.first_token_ms, "first_sentence": event.time} if event.segment == 0 else {}
            )
            complete: dict[str, Any] = {"complete": True} if event.last else {}
            segments = _segment(state, event.turn, event.segment, text=event.text, kind=event.kind)
            return {"turns": _turn(state, event.turn, segments=segments, **first, **complete)}
        case events.TurnCancelled():
            return {"turns": _turn(state, event.turn, cancelled=event.reason, carried=event.carried)}
        case events.TurnEnded():
            history = state.history
            if event.turn in history:
                history = history_of({**history, event.turn: history[event.turn] + len(event.heard)})
            turns = _turn(state, event.turn, history, heard=event.heard, interrupted=event.interrupted)
            return {"history": history, "turns": turns}
        case events.SegmentSynthesized():
            spoken: dict[str, Any] = {"first_audio_ms": event.first_audio_ms} if event.segment == 0 else {}
            segments = _segment(state, event.turn, event.segment, duration_ms=event.duration_ms, words=event.words)
            return {"turns": _turn(state, event.turn, segments=segments, **spoken)}
        case events.PlaybackStarted():
            return {"turns": _turn(state, event.turn, playback="playing", playing=event.time)}
        case events.Paused() if event.turn:
            return {
                "turns": _turn(state, event.turn, playback="paused", segment=event.segment, heard_ms=event.heard_ms)
            }
        case events.Resumed():
            released = max(state.released, event.utterance) if event.reason == "timeout" else state.released
            if not event.turn:
                return {"released": released}
            playback = _resumed(state, event.turn)
            return {"released": released, "turns": _turn(state, event.turn, playback=playback, heard_ms=event.heard_ms)}
        case events.PlaybackEnded():
            return {"turns": _turn(state, event.turn, playback="ended", heard_ms=event.heard_ms, stopped=event.time)}
        case _:  # holds while nothing plays, a provider that failed: no part of the conversation
            return {}


# --- utterances and texts ---------------------------------------------------------------------------------------------


def _utterance(state: SessionState, number: int, **fields: Any) -> dict[str, Any]:
    utterance = replace(state.utterances.get(number) or Utterance(), **fields)
    utterances = newest(put(state.utterances, number, utterance), KEEP)
    return {"utterances": aged(utterances, number, number not in state.utterances, KEEP_UTTERANCES, short_utterance)}


def _transcript(state: SessionState, event: events.TranscriptFinal) -> dict[str, Any]:
    """A part goes behind those before it. A repeated part adds no words, and a final transcript stays as it is."""
    known = state.utterances.get(event.utterance) or Utterance()
    fields: dict[str, Any] = {}
    if not known.final:
        fields = {"until": max(known.until, event.until_sample), "end_of_turn": event.end_of_turn}
        if event.part >= known.parts:
            fields |= {"text": joined(known.text or "", event.text), "parts": event.part + 1}
        if event.last:
            fields |= {"final": True, "final_time": event.time}
    return {"until": max(state.until, event.until_sample), **_utterance(state, event.utterance, **fields)}


def _text(texts: dict[int, Text], event: events.TextReceived) -> dict[int, Text]:
    grown = newest(put(texts, event.number, Text(event.text, event.time)), KEEP_TEXTS)
    return aged(grown, event.number, event.number not in texts, KEEP_SPOKEN, short_text)


# --- turns ------------------------------------------------------------------------------------------------------------


def _turn(state: SessionState, number: int, history: dict[int, int] | None = None, **fields: Any) -> dict[int, Turn]:
    """Return the turns with `fields` of one turn, and without what is too old to be kept.

    history: after this event, if it changes that.
    """
    kept = state.history if history is None else history
    turn = replace(state.turns.get(number) or Turn(), **fields)
    turns = newest(put(state.turns, number, turn), KEEP)
    oldest = next(reversed(turns)) - KEEP_SPOKEN
    if number not in state.turns or kept.keys() != state.history.keys():  # then other turns may have become old
        return {one: short_turn(entry, one > oldest, one in kept) for one, entry in turns.items()}
    if number in turns:
        turns[number] = short_turn(turn, number > oldest, number in kept)
    return turns


def _segment(state: SessionState, turn: int, number: int, **fields: Any) -> dict[int, Segment]:
    segments = state.turns[turn].segments if turn in state.turns else {}
    if number >= KEEP_SEGMENTS:
        return segments
    return put(segments, number, replace(segments.get(number) or Segment(), **fields))


def _resumed(state: SessionState, number: int) -> Playback:
    """A hold may be set before the first sample went out; then the turn waits again when it is lifted."""
    turn = state.turns.get(number)
    return "playing" if turn and turn.playing else "waiting"
