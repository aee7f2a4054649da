"""What a new owner of a stage starts with, derived from the state of the session: pure.

A running stage reports its own `recoverable()`. tests/session/test_recoverable.py holds both equal after every event.
Not in here, because it comes again: the memory of voice activity detection, interim transcripts, and audio that was
not played. Waits begin anew with the new owner, so that no clock has to travel.
"""

from collections.abc import Mapping

import msgspec

from schemas.audio import CALLER_HZ
from schemas.events import Missing
from session.entries import Segment, Turn, Utterance
from session.history import Exchange, conversation
from session.state import SessionState
from session.words import joined, words

# --- stt --------------------------------------------------------------------------------------------------------------


class UnfinishedUtterance(msgspec.Struct, frozen=True):
    """An utterance without its last part. Positions are samples at 16 kHz.

    end: None while the caller speaks. parts: how many were published, with `text`; they end at `until`.
    """

    number: int
    start: int
    end: int | None
    parts: int
    text: str
    until: int


class SttRecoverable(msgspec.Struct, frozen=True):
    """watermark: the sample from which the caller's audio is recognized again: all before it has its transcript.

    transcribed: the sample up to which some transcript reaches; speech before it that is not unfinished has its words.
    """

    watermark: int = 0
    next_utterance: int = 0
    unfinished: tuple[UnfinishedUtterance, ...] = ()
    transcribed: int = 0


def stt(state: SessionState) -> SttRecoverable:
    """Return what a new owner of stt starts with."""
    unfinished = tuple(
        UnfinishedUtterance(
            number, known.start, known.end, known.parts, known.text or "", known.until if known.parts else known.start
        )
        for number, known in state.utterances.items()
        if not known.final
    )
    watermark = min((utterance.until for utterance in unfinished), default=state.until)
    return SttRecoverable(watermark, max(state.utterances, default=-1) + 1, unfinished, state.until)


BEFORE_SPEECH = CALLER_HZ // 2  # samples before an onset: VAD and recognizers need some audio to find it again


def replay_from(state: SessionState, received: int) -> int:
    """Return the sample from which a new owner of stt gets the caller's audio.

    received: the sample up to which the old owner would have published every onset of speech. Silence before it need
    not be sent again; an unfinished utterance is, from its beginning or from the end of its parts so far.
    """
    left = stt(state)
    if not left.unfinished:
        return max(left.watermark, received, 0)
    first = min(left.unfinished, key=lambda utterance: utterance.until)
    if first.parts:
        return first.until
    earlier = (known.until for number, known in state.utterances.items() if known.final and number < first.number)
    return max(first.start - BEFORE_SPEECH, max(earlier, default=0), 0)


# --- llm --------------------------------------------------------------------------------------------------------------


class SaidPart(msgspec.Struct, frozen=True):
    """An utterance, or the text `typed` after it.

    start: sample of the onset. text: as far as it is certain. open: the caller still speaks.
    assumed: the words that a decision took for an utterance whose last transcript has not come.
    parts: how many parts of the transcript came.
    """

    utterance: int
    typed: int = 0
    start: int = 0
    text: str = ""
    final: bool = False
    open: bool = False
    end_of_turn: bool | None = None
    assumed: str = ""
    parts: int = 0


class TurnTaking(msgspec.Struct, frozen=True):
    """The memory of the turn machine.

    turn: the last number given. settled: utterances up to this one were answered or dismissed.
    missing: those of them whose last transcript has not come. ending: cancelled turns that are not history yet.
    active: the turn that has the agent's floor, 0 for none. audible: the caller has heard something of it.
    answered: what it answers. unanswered: what the caller said and typed since.
    """

    opened: bool = False
    turn: int = 1
    settled: int = -1
    missing: tuple[SaidPart, ...] = ()
    ending: tuple[int, ...] = ()
    active: int = 0
    audible: bool = False
    answered: tuple[SaidPart, ...] = ()
    unanswered: tuple[SaidPart, ...] = ()


class LlmRecoverable(msgspec.Struct, frozen=True):
    """history: as the caller heard it. reply: the sentences of the active turn so far. complete: it has no more."""

    turn_taking: TurnTaking = TurnTaking()
    history: tuple[Exchange, ...] = ()
    reply: tuple[str, ...] = ()
    complete: bool = False


def llm(state: SessionState) -> LlmRecoverable:
    """Return what a new owner of llm starts with."""
    active = state.turns.get(_active(state), Turn())
    return LlmRecoverable(
        turn_taking(state),
        conversation(state),
        tuple(segment.text for segment in active.segments.values()),
        active.complete,
    )


def turn_taking(state: SessionState) -> TurnTaking:
    """Return the memory of the turn machine."""
    number = _active(state)
    turn = state.turns.get(number, Turn())
    return TurnTaking(
        opened=state.transport != "",
        turn=max(1, _newest_started(state)),
        settled=state.settled,
        missing=tuple(_assumed(state, missing) for missing in state.missing if not _is_final(state, missing.utterance)),
        ending=tuple(number for number, one in state.turns.items() if one.cancelled is not None and one.heard is None),
        active=number,
        audible=turn.playing > 0,
        answered=tuple(_said(state, part.utterance, part.typed) for part in turn.parts),
        unanswered=_unanswered(state),
    )


def _unanswered(state: SessionState) -> tuple[SaidPart, ...]:
    """What came since the last decision; what a turn that was cancelled unheard was to answer; late words."""
    parts = {(number, 0) for number in state.utterances if number > state.settled}
    parts |= {(max(state.utterances, default=-1), number) for number in state.texts if number > state.settled_text}
    last = state.turns.get(_newest_started(state), Turn())
    if last.carried:
        parts |= {(part.utterance, part.typed) for part in last.parts}
    parts |= {(missing.utterance, 0) for missing in state.missing if _brings_new_words(state, missing)}
    ordered = sorted(parts)
    return tuple(_said(state, *part, is_last=part == ordered[-1]) for part in ordered)


def caller_words(state: SessionState, utterance: int) -> str:
    """Return the words of an utterance so far, without those of the agent."""
    text = state.utterances.get(utterance, Utterance()).text or ""
    own = state.own_words.get(utterance)
    return joined(own.text, text[own.characters :].strip()) if own else text


def _said(state: SessionState, number: int, typed: int, *, is_last: bool = False) -> SaidPart:
    if typed:
        text = state.texts[typed].text if typed in state.texts else ""
        return SaidPart(number, typed, text=text, final=True, end_of_turn=True)
    known = state.utterances.get(number, Utterance())
    is_open = is_last and known.end is None and not known.final
    end_of_turn = known.end_of_turn if known.final else None
    return SaidPart(
        number, 0, known.start, caller_words(state, number), known.final, is_open, end_of_turn, parts=known.parts
    )


def _assumed(state: SessionState, missing: Missing) -> SaidPart:
    return msgspec.structs.replace(_said(state, missing.utterance, 0), assumed=missing.text)


def _brings_new_words(state: SessionState, missing: Missing) -> bool:
    """Whether the transcript of a settled utterance has come since, and says more than was known."""
    if not _is_final(state, missing.utterance):
        return False
    return words(caller_words(state, missing.utterance)) != words(missing.text)


def _is_final(state: SessionState, number: int) -> bool:
    utterance = state.utterances.get(number)
    return utterance is not None and utterance.final


def _newest_started(state: SessionState) -> int:
    return max((number for number, turn in state.turns.items() if turn.answers is not None), default=0)


def _active(state: SessionState) -> int:
    number = _newest_started(state)
    return number if number and state.turns[number].active else 0


# --- tts --------------------------------------------------------------------------------------------------------------


class Sentence(msgspec.Struct, frozen=True):
    """One sentence, or the empty one that ends a reply."""

    segment: int
    text: str


class TtsRecoverable(msgspec.Struct, frozen=True):
    """turn: 0 if there is nothing to speak. sentences: those not yet played to their end. complete: no more come."""

    turn: int = 0
    sentences: tuple[Sentence, ...] = ()
    complete: bool = False


def tts(state: SessionState) -> TtsRecoverable:
    """Return what a new owner of tts starts with."""
    number = _newest_started(state)
    turn = state.turns.get(number, Turn())
    if not number or turn.cancelled is not None or turn.playback == "ended":
        return TtsRecoverable()
    return TtsRecoverable(number, unplayed(turn.segments, turn.segment, turn.heard_ms), turn.complete)


def unplayed(segments: Mapping[int, Segment], segment: int, heard_ms: int) -> tuple[Sentence, ...]:
    """Return the sentences of a turn that were not played to their end.

    segments: in order of number. segment: the one heard last. heard_ms: how much of the turn was heard; it counts for
    segments whose end is known, because the length of every segment before them is.
    """
    first, end_ms = segment, 0
    for expected, (number, made) in enumerate(segments.items()):
        if number != expected or made.duration_ms is None:
            break
        end_ms += made.duration_ms
        if end_ms <= heard_ms:
            first = max(first, number + 1)
    return tuple(Sentence(number, made.text) for number, made in segments.items() if number >= first)


# --- egress -----------------------------------------------------------------------------------------------------------


class Playing(msgspec.Struct, frozen=True):
    """A turn that has not ended. segment: the one heard last. heard_ms: of the turn. sounded: playback has started."""

    turn: int
    segment: int = 0
    heard_ms: int = 0
    sounded: bool = False


class EgressRecoverable(msgspec.Struct, frozen=True):
    """turn: the newest that started. over_below: turns below are over. playing: started and not ended.

    held: the utterance that the agent is silent for, None without a hold. awaits_decision: that utterance has ended.
    decided: the newest utterance that was decided about. echoes: a mere sound of the caller sets no hold.
    """

    turn: int = 0
    over_below: int = 1
    playing: tuple[Playing, ...] = ()
    held: int | None = None
    awaits_decision: bool = False
    decided: int = -1
    echoes: bool = False


def egress(state: SessionState) -> EgressRecoverable:
    """Return what a new owner of egress starts with."""
    started = {number: turn for number, turn in state.turns.items() if turn.answers is not None}
    over = (number for number, turn in started.items() if turn.cancelled is not None or turn.playback == "ended")
    newest = max(started, default=0)
    utterance = max(state.utterances, default=-1)
    decided = max(state.settled, state.released)
    held = utterance if utterance > decided and not state.echoes else None
    return EgressRecoverable(
        turn=newest,
        over_below=max(1, newest, max(over, default=0) + 1),
        playing=tuple(
            Playing(number, turn.segment, turn.heard_ms, turn.playing > 0)
            for number, turn in started.items()
            if turn.playback != "ended"
        ),
        held=held,
        awaits_decision=held is not None and state.utterances[held].end is not None,
        decided=decided,
        echoes=state.echoes,
    )
