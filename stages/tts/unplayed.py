"""The sentences of the turn that is spoken, as far as they were not played to their end. Pure.

A new owner of egress has none of the audio that waited in the old one: tts speaks these sentences again.
"""

from msgspec.structs import replace

from schemas.events import Paused, PlaybackEnded, PlaybackStarted, Resumed, SegmentSynthesized, SentenceReady
from session.entries import Segment
from session.recoverable import TtsRecoverable, unplayed

NOTHING_SPOKEN = TtsRecoverable()  # a session in which nothing has happened


class Unplayed:
    """The sentences of one session. left: those that the owner before left."""

    def __init__(self, left: TtsRecoverable = NOTHING_SPOKEN) -> None:
        self._turn = left.turn
        self._over = 0  # turns up to this one were cancelled or have been played
        self._segments = {sentence.segment: Segment(sentence.text) for sentence in left.sentences}
        self._complete = left.complete
        self._segment = min(self._segments, default=0)  # the one heard last
        self._heard_ms = 0

    def start(self, turn: int) -> None:
        """Forget every turn before `turn`."""
        if turn > self._turn:
            self._turn, self._segments, self._complete = turn, {}, False
            self._segment = self._heard_ms = 0

    def end(self, turn: int) -> None:
        """Forget `turn`, which was cancelled."""
        self._over = max(turn, self._over)

    def add(self, sentence: SentenceReady) -> None:
        """Add a sentence of the turn that started last."""
        if sentence.turn == self._turn:
            self._change(sentence.segment, text=sentence.text)
            self._complete = self._complete or sentence.last

    def measure(self, synthesized: SegmentSynthesized) -> None:
        """Note how long a sentence sounds."""
        if synthesized.turn == self._turn:
            self._change(synthesized.segment, duration_ms=synthesized.duration_ms)

    def follow(self, playback: PlaybackStarted | Paused | Resumed | PlaybackEnded) -> None:
        """Note how much of the turn was heard."""
        if isinstance(playback, PlaybackEnded):
            self._over = max(playback.turn, self._over)
        elif playback.turn == self._turn and not isinstance(playback, PlaybackStarted):
            self._heard_ms = playback.heard_ms
            if isinstance(playback, Paused):
                self._segment = playback.segment

    @property
    def recoverable(self) -> TtsRecoverable:
        """Return what a new owner of tts would start with."""
        if self._turn <= self._over:
            return NOTHING_SPOKEN
        return TtsRecoverable(self._turn, unplayed(self._segments, self._segment, self._heard_ms), self._complete)

    def _change(self, number: int, *, text: str | None = None, duration_ms: int | None = None) -> None:
        known = self._segments.get(number, Segment())
        text = known.text if text is None else text
        duration_ms = known.duration_ms if duration_ms is None else duration_ms
        self._segments[number] = replace(known, text=text, duration_ms=duration_ms)
