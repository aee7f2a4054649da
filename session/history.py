"""The history of a session, which is what the caller heard and said: a view on its state. Pure.

Egress reports how many milliseconds of a turn the caller has heard. The words are found from the word times of the
synthesizer where there are any, else by characters within the segment.
"""

from collections.abc import Iterable

import msgspec

from session.entries import Segment, Turn
from session.state import SessionState

CHARACTERS_PER_S = 15  # English read aloud at 160 words a minute: for a segment whose length is not known yet
FRAME_MS = 20  # positions are counted in frames, so a word may miss its end by one


class Exchange(msgspec.Struct, frozen=True):
    """One turn of the history.

    caller: what it answers; empty for a greeting, and if the next turn answers it again. agent: what was heard of it.
    """

    caller: str
    agent: str
    interrupted: bool = False


def conversation(state: SessionState, played_ms: int = 0) -> tuple[Exchange, ...]:
    """Return the history, oldest turn first.

    played_ms: since egress last reported the position of the turn that sounds now, by the reader's own clock.
    """
    turns = (state.turns[number] for number in state.history if number in state.turns)
    return tuple(
        Exchange(
            caller="" if turn.carried else turn.text,
            agent=_heard(turn, played_ms),
            interrupted=turn.interrupted or turn.cancelled is not None,
        )
        for turn in turns
    )


def heard(state: SessionState, number: int, played_ms: int = 0) -> str:
    """Return what the caller has heard of a turn; played_ms: as for `conversation`."""
    turn = state.turns.get(number)
    return _heard(turn, played_ms) if turn else ""


def heard_text(segments: Iterable[Segment], heard_ms: int) -> str:
    """Return what of `segments`, played one after another, had been heard after `heard_ms`: whole words only.

    A filler or notice takes its time and leaves no words.
    """
    texts, left_ms = [], heard_ms
    for segment in segments:
        if not segment.text or segment.duration_ms == 0:
            continue
        if left_ms <= 0:
            break
        if segment.kind == "reply":
            texts.append(_heard_of(segment, left_ms + FRAME_MS))
        left_ms -= _duration_ms(segment)
    return " ".join(text for text in texts if text)


def _heard(turn: Turn, played_ms: int) -> str:
    if turn.heard is not None:
        return turn.heard
    since_ms = max(0, played_ms) if turn.playback == "playing" else 0
    return heard_text(turn.segments.values(), turn.heard_ms + since_ms)


def _duration_ms(segment: Segment) -> int:
    if segment.duration_ms is not None:
        return segment.duration_ms
    return max(1, len(segment.text) * 1000 // CHARACTERS_PER_S)


def _heard_of(segment: Segment, heard_ms: int) -> str:
    text, duration_ms = segment.text, _duration_ms(segment)
    if heard_ms >= duration_ms:
        return text
    if segment.words:
        end = 0
        for word in segment.words:
            found = text.find(word.text, end)
            if word.end_ms <= heard_ms and found >= 0:
                end = found + len(word.text)
        while end and end < len(text) and not text[end].isspace():
            end += 1  # its punctuation
        return text[:end]
    end = len(text) * heard_ms // duration_ms
    while end and not text[end].isspace():
        end -= 1  # a word of which only a part was heard
    return text[:end].rstrip()
