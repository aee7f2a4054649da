"""A session as a pure fold of its events: the snapshot of a takeover, and the state that the CLI and the page show.

The fold gives the same state in every order of arrival. Events of one stage arrive in the order of publication; events
of different stages interleave. So each field below is written by one stage alone, the first event about an entry makes
the entry, and all that compares two stages (busy, agent_state, transcript) is derived on reading. A watermark
(epoch, seq) per stage makes a repeated event harmless. Events of a replaced owner are dropped.
"""

from typing import Any, Literal, TypeVar

import msgspec

from schemas import events
from schemas.events import Event, Owner

KEEP = 200  # turns, and utterances: half an hour of rapid talk, and far below the 1 MB of a message
KEEP_TEXTS = 30  # of the caller: each may be as long as a page
KEEP_SPOKEN = 8  # turns whose sentences are kept: older ones are history, and `heard` holds what matters of them
KEEP_CHARACTERS = 300  # of what the caller said before an older turn
KEEP_SEGMENTS = 100  # of one turn, the first ones: longer than any answer a caller listens to

AgentState = Literal["listening", "thinking", "speaking"]
Playback = Literal["waiting", "playing", "paused", "ended"]


class Utterance(msgspec.Struct, frozen=True):
    """One stretch of the caller's speech. All of it is said by stt; None is not yet."""

    start: int = 0  # sample of the onset
    end: int | None = None  # sample where speech ended
    text: str | None = None  # the final transcript, its parts joined; "" has no words
    final_time: int = 0  # UTC microseconds at which it was said


class Text(msgspec.Struct, frozen=True):
    """What the caller typed. Said by ingress; `time` is when."""

    text: str
    time: int


class Segment(msgspec.Struct, frozen=True):
    """One sentence of a reply: llm writes it, tts makes `duration_ms` of audio of it, None until it has."""

    text: str = ""
    duration_ms: int | None = None


class Turn(msgspec.Struct, frozen=True):
    """One turn of the agent. Times are UTC microseconds, 0 where it has not happened.

    llm: answers (utterance; None until it started), typed (the text it answers), text (the caller's), started,
    first_token_ms, first_sentence, cancelled (why), heard (the text, None until the turn is history), interrupted.
    tts: first_audio_ms (after hearing the first sentence). egress: playback, playing, heard_ms, stopped.
    segments: of the newest KEEP_SPOKEN turns only, and of older ones only the beginning of text.
    """

    answers: int | None = None
    typed: int = 0
    text: str = ""
    started: int = 0
    first_token_ms: int | None = None
    first_sentence: int = 0
    first_audio_ms: int | None = None
    cancelled: str | None = None
    heard: str | None = None
    interrupted: bool = False
    playback: Playback = "waiting"
    playing: int = 0
    heard_ms: int = 0
    stopped: int = 0
    segments: dict[int, Segment] = {}

    @property
    def reply(self) -> str:
        """All that the agent meant to say, heard or not."""
        return " ".join(segment.text for segment in self.segments.values() if segment.text)


class TranscriptEntry(msgspec.Struct, frozen=True):
    """One line of the transcript: who said it, and the turn (agent), utterance or typed text (caller) it was."""

    who: Literal["caller", "agent"]
    text: str
    number: int
    typed: bool = False


class SessionState(msgspec.Struct, frozen=True):
    """Everything that a session's events say so far. Only the newest KEEP turns and utterances are kept.

    started: UTC microseconds of sample 0 of the caller's line. after: stage -> (epoch, seq) of its last event in here.
    until: sample up to which the caller's words are final. settled: the last utterance that was answered, or no turn;
    settled_text: the last text.
    greets: the agent has a greeting to say.
    """

    session: str = ""
    agent: str = ""
    transport: str = ""
    coordinator: str = ""
    started: int = 0
    greets: bool = False
    owners: dict[str, Owner] = {}
    clock_offset_us: dict[str, int] = {}  # stage -> its owner's clock minus the clock of ingress; read by latency.py
    after: dict[str, tuple[int, int]] = {}
    until: int = 0
    settled: int = -1
    settled_text: int = 0
    utterances: dict[int, Utterance] = {}
    texts: dict[int, Text] = {}
    turns: dict[int, Turn] = {}
    closed: str | None = None

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
            utterance.end is None or utterance.text is None or (utterance.text and number > self.settled)
            for number, utterance in self.utterances.items()
        )

    @property
    def agent_state(self) -> AgentState:
        """What the agent does now, as a caller would say it."""
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


def fold(state: SessionState, event: Event) -> SessionState:
    """`state` with what `event` says; `state` itself if it says nothing new, is dead or belongs to the live plane."""
    stage = events.stage(event)
    said = (event.epoch, event.seq)
    owner = state.owners.get(stage)
    dead = owner is not None and event.epoch < owner.epoch
    if dead or isinstance(event, events.EPHEMERAL) or said <= state.after.get(stage, (-1, -1)):
        return state
    after = _put(state.after, stage, said)
    state = msgspec.structs.replace(state, session=event.session, agent=event.agent, after=after)
    return _apply(state, event)


def _apply(state: SessionState, event: Event) -> SessionState:
    put = msgspec.structs.replace
    match event:
        case events.SessionOpened():
            return put(
                state,
                owners=event.owners,
                clock_offset_us=event.clock_offset_us,
                coordinator=event.coordinator,
                transport=event.transport,
                started=event.started_us,
                greets=bool(event.config.get("greeting")),
            )
        case events.OwnerChanged():
            owners = _put(state.owners, event.stage, Owner(event.worker, event.owner_epoch))
            offsets = _put(state.clock_offset_us, event.stage, event.clock_offset_us)
            return put(state, owners=owners, clock_offset_us=offsets)
        case events.TextReceived():
            texts = _newest(_put(state.texts, event.number, Text(event.text, event.time)), KEEP_TEXTS)
            return put(state, texts=texts)
        case events.SessionClosed():
            return put(state, closed=event.reason)
        case events.SpeechStarted():
            return _utterance(state, event.utterance, start=event.start_sample)
        case events.SpeechEnded():
            return _utterance(state, event.utterance, end=event.until_sample)
        case events.TranscriptFinal():
            state = put(state, until=max(state.until, event.until_sample))
            before = state.utterances.get(event.utterance, Utterance()).text if event.part else ""
            text = f"{before} {event.text}".strip() if before else event.text
            return _utterance(state, event.utterance, text=text, final_time=event.time)
        case events.TurnStarted():
            settled, settled_text = max(state.settled, event.answers), max(state.settled_text, event.typed)
            state = put(state, settled=settled, settled_text=settled_text)
            heard = {"answers": event.answers, "typed": event.typed, "text": event.text}
            return _turn(state, event.turn, **heard, started=event.time)
        case events.ReplyResumed():
            return put(state, settled=max(state.settled, event.utterance))
        case events.SentenceReady():
            if event.segment == 0:
                state = _turn(state, event.turn, first_token_ms=event.first_token_ms, first_sentence=event.time)
            return _segment(state, event.turn, event.segment, text=event.text)
        case events.TurnCancelled():
            return _turn(state, event.turn, cancelled=event.reason)
        case events.TurnEnded():
            return _turn(state, event.turn, heard=event.heard, interrupted=event.interrupted)
        case events.SegmentSynthesized():
            if event.segment == 0:
                state = _turn(state, event.turn, first_audio_ms=event.first_audio_ms)
            return _segment(state, event.turn, event.segment, duration_ms=event.duration_ms)
        case events.PlaybackStarted():
            return _turn(state, event.turn, playback="playing", playing=event.time)
        case events.Paused() if event.turn:
            return _turn(state, event.turn, playback="paused", heard_ms=event.heard_ms)
        case events.Resumed() if event.turn:
            return _turn(state, event.turn, playback=_resumed(state, event.turn), heard_ms=event.heard_ms)
        case events.PlaybackEnded():
            return _turn(state, event.turn, playback="ended", heard_ms=event.heard_ms, stopped=event.time)
        case _:  # holds while nothing plays, what a provider said of itself: no part of the conversation
            return state


def _resumed(state: SessionState, number: int) -> Playback:
    """A hold may be set before the first sample went out; then the turn waits again when it is lifted."""
    turn = state.turns.get(number)
    return "playing" if turn and turn.playing else "waiting"


def _utterance(state: SessionState, number: int, **fields: Any) -> SessionState:
    utterance = msgspec.structs.replace(state.utterances.get(number, Utterance()), **fields)
    return msgspec.structs.replace(state, utterances=_newest(_put(state.utterances, number, utterance), KEEP))


def _turn(state: SessionState, number: int, **fields: Any) -> SessionState:
    turn = msgspec.structs.replace(state.turns.get(number, Turn()), **fields)
    turns = _newest(_put(state.turns, number, turn), KEEP)
    if number not in state.turns or _is_long(turn):  # otherwise no turn has become too old for its sentences
        spoken = _newest(turns, KEEP_SPOKEN)
        turns = {old: kept if old in spoken or not _is_long(kept) else _short(kept) for old, kept in turns.items()}
    return msgspec.structs.replace(state, turns=turns)


def _is_long(turn: Turn) -> bool:
    return bool(turn.segments) or len(turn.text) > KEEP_CHARACTERS


def _short(turn: Turn) -> Turn:
    return msgspec.structs.replace(turn, text=turn.text[:KEEP_CHARACTERS], segments={})


def _segment(state: SessionState, turn: int, number: int, **fields: Any) -> SessionState:
    segments = state.turns.get(turn, Turn()).segments
    if number >= KEEP_SEGMENTS:
        return state
    segment = msgspec.structs.replace(segments.get(number, Segment()), **fields)
    return _turn(state, turn, segments=_put(segments, number, segment))


K = TypeVar("K", int, str)
V = TypeVar("V")


def _put(table: dict[K, V], key: K, value: V) -> dict[K, V]:
    """A copy with one entry more, in the order of its keys whoever came first."""
    grown = {**table, key: value}
    return grown if key in table else dict(sorted(grown.items()))


def _newest(table: dict[int, V], keep: int) -> dict[int, V]:
    """The entries less than `keep` numbers behind the newest: by number, not count, so that order does not matter."""
    oldest = next(reversed(table)) - keep  # tables are in the order of their keys
    return (
        table if next(iter(table)) > oldest else {number: entry for number, entry in table.items() if number > oldest}
    )
