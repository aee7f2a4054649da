"""What was heard of what was said: the only memory of a call that both sides share.

Egress knows how many milliseconds of a turn the caller has heard; the words are found from the voice's own word times
where it gives them, else by characters within the segment.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import msgspec
from msgspec.structs import replace

from schemas.events import Word

MAX_TURNS = 50  # what older turns said has been answered, and a prompt has an end
CHARACTERS_PER_S = 15  # English read aloud at 160 words a minute: for a segment whose length is not known yet
FRAME_MS = 20  # positions are counted in frames, so a word may miss its end by one


class Segment(msgspec.Struct, frozen=True):
    """A piece of a turn as it was given to the voice. duration_ms: None until it is known; 0 if it made no sound."""

    text: str
    duration_ms: int | None = None
    words: tuple[Word, ...] = ()


def heard_text(segments: Sequence[Segment], heard_ms: int) -> str:
    """What of `segments`, played one after another, had been heard after `heard_ms`: whole words only."""
    heard, left_ms = [], heard_ms
    for segment in segments:
        if not segment.text or segment.duration_ms == 0:
            continue
        if left_ms <= 0:
            break
        heard.append(_heard_of(segment, left_ms + FRAME_MS))
        left_ms -= _duration_ms(segment)
    return " ".join(text for text in heard if text)


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


class Turn(msgspec.Struct, frozen=True, dict=True):
    """One turn of the agent: what the caller had said, what was answered, and how much of that was heard.

    playing_since_ms: the listener's clock when sound last began, None while there is none; so that a call which ends in
    mid-sentence still knows about where. carried: nothing was heard, and `text` is part of the next turn's text.
    """

    text: str
    segments: tuple[Segment, ...] = ()
    heard_ms: int = 0
    playing_since_ms: int | None = None
    interrupted: bool = False
    carried: bool = False

    def heard_at(self, now_ms: int) -> str:
        """What has been heard by now."""
        if self.playing_since_ms is None:
            return self._heard
        return heard_text(self.segments, self.heard_ms + max(0, now_ms - self.playing_since_ms))

    @cached_property  # every prompt asks it of every turn
    def _heard(self) -> str:
        return heard_text(self.segments, self.heard_ms)


@dataclass
class History:
    """The last MAX_TURNS turns of a call by number. What is told of a turn that is not in it changes nothing."""

    turns: dict[int, Turn] = field(default_factory=dict)

    def start(self, number: int, text: str) -> None:
        """A turn that answers `text` begins."""
        self.turns[number] = Turn(text)
        while len(self.turns) > MAX_TURNS:
            del self.turns[min(self.turns)]

    def say(self, number: int, segment: int, text: str) -> None:
        """Segment `segment` of the turn, numbered from 0, was given to the voice."""
        turn = self.turns.get(number)
        if turn and segment == len(turn.segments):
            self.turns[number] = replace(turn, segments=(*turn.segments, Segment(text)))

    def measure(self, number: int, segment: int, duration_ms: int, words: tuple[Word, ...] = ()) -> None:
        """The voice has spoken it, and this is how long it is."""
        turn = self.turns.get(number)
        if turn and segment < len(turn.segments):
            measured = replace(turn.segments[segment], duration_ms=duration_ms, words=words)
            segments = (*turn.segments[:segment], measured, *turn.segments[segment + 1 :])
            self.turns[number] = replace(turn, segments=segments)

    def play(self, number: int, now_ms: int) -> None:
        """Its sound begins, or goes on."""
        if turn := self.turns.get(number):
            self.turns[number] = replace(turn, playing_since_ms=now_ms)

    def stop(self, number: int, heard_ms: int) -> None:
        """Its sound stops; the caller has heard this much of it."""
        if turn := self.turns.get(number):
            self.turns[number] = replace(turn, heard_ms=heard_ms, playing_since_ms=None)

    def interrupt(self, number: int, *, carried: bool = False) -> None:
        """The caller took the floor."""
        if turn := self.turns.get(number):
            self.turns[number] = replace(turn, interrupted=True, carried=carried or turn.carried)

    def heard(self, number: int, now_ms: int) -> str:
        """What has been heard of the turn by now."""
        turn = self.turns.get(number)
        return turn.heard_at(now_ms) if turn else ""
