"""Numbers utterances and assigns a recognizer's finals to them, part by part: pure.

VAD opens and ends utterances. The finals of a recognizer become parts, numbered from 0. Exactly one part of each
utterance has `last`:

- a final that reaches the end of its utterance, or that ends the turn by the recognizer's own judgement;
- an empty part, once a final that goes beyond the utterance shows that no more comes;
- a forced part with the words of the last interim, if the recognizer is overdue.

A new owner recognizes unfinished utterances again, from the beginning of the first one. They keep their numbers, and
what the owner before published about them is not published again.

No words are lost. A final that comes after the `last` of its utterance becomes a part of the next unfinished one. If
there is none, it becomes an utterance of its own. Words that the forced part has published are removed from it first.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from schemas.audio import CALLER_HZ, samples_to_ms
from schemas.events import (
    MOST_UNFINISHED,
    Event,
    SpeechEnded,
    SpeechStarted,
    TranscriptFinal,
    TranscriptInterim,
    TurnJudged,
)
from session.recoverable import SttRecoverable, UnfinishedUtterance
from stages.stt.contract import HeardFinal, HeardInterim
from stages.stt.postprocess import after, same_words
from stages.stt.voice_activity import SILENCE, Offset

COVERED = SILENCE  # VAD and a recognizer may differ by this much about where speech ended


NOTHING_HEARD = SttRecoverable()  # a session in which nothing has happened


@dataclass(slots=True)
class Utterance:
    """An utterance without its last part. until: None while the caller speaks. settled: up to here it has text."""

    number: int
    start: int
    until: int | None = None
    parts: int = 0
    settled: int = 0
    texts: list[str] = field(default_factory=list)
    interim: str = ""

    def covered_by(self, sample: int) -> bool:
        """Return whether text up to `sample` is all the text of the utterance."""
        return self.until is not None and sample >= self.until - COVERED


class Utterances:
    """The utterances of one session. Every method returns the events to publish, in order.

    left: what the owner before left. provider: of TranscriptFinal.
    """

    def __init__(self, left: SttRecoverable, provider: str) -> None:
        self.unfinished = [  # oldest first
            Utterance(one.number, one.start, one.end, one.parts, one.until, [one.text] if one.text else [])
            for one in left.unfinished
        ]
        self._next = left.next_utterance
        self.provider = provider
        self._again = deque(self.unfinished)  # of the owner before, and not found again so far
        self._transcribed = left.transcribed  # all speech before, except unfinished utterances, has its transcript
        self._repeats = False  # VAD has speech open whose beginning or transcript was published before
        self._speaking: Utterance | None = None  # the one that VAD has open, which may have its last part already
        self._forced: deque[TranscriptFinal] = deque(maxlen=MOST_UNFINISHED)
        self._until = left.transcribed  # sample up to which something was transcribed

    @property
    def recoverable(self) -> SttRecoverable:
        """Return what a new owner of stt would start with."""
        unfinished = tuple(
            UnfinishedUtterance(one.number, one.start, one.until, one.parts, " ".join(one.texts), one.settled)
            for one in self.unfinished
        )
        watermark = min((one.until for one in unfinished), default=self._until)
        return SttRecoverable(watermark, self._next, unfinished, self._until)

    # --- voice activity -----------------------------------------------------------------------------------------------

    def speech_started(self, at: int) -> list[Event]:
        """Open an utterance, or find one of the owner before again."""
        while self._again and (known := self._again.popleft()):
            if known.until is None or at < known.until:
                self._speaking, self._repeats = known, True
                return []
        if at < self._transcribed - COVERED:
            self._speaking, self._repeats = None, True
            return []
        self._speaking, self._repeats = self._open(at), False
        return [SpeechStarted(utterance=self._speaking.number, start_sample=at)]

    def speech_ended(self, offset: Offset, silence_ms: int, final_within_ms: int) -> list[Event]:
        """End the utterance that VAD has open."""
        utterance, self._speaking = self._speaking, None
        repeats, self._repeats = self._repeats, False
        if repeats and (utterance is None or utterance.until is not None):
            return []
        assert utterance is not None, "VAD ends speech that it began"
        utterance.until = offset.at
        ended = SpeechEnded(
            utterance=utterance.number,
            until_sample=offset.at,
            silence_ms=silence_ms,
            final_within_ms=final_within_ms,
        )
        if utterance in self.unfinished and utterance.parts and utterance.covered_by(utterance.settled):
            return [ended, self._part(utterance, "", last=True)]
        return [ended]

    # --- the recognizer -----------------------------------------------------------------------------------------------

    def heard_final(self, final: HeardFinal) -> list[Event]:
        """Assign a final to its utterance."""
        published: list[Event] = []
        if 0 < final.until_sample <= self._transcribed and not self._is_unfinished(final):
            return []  # its transcript was published by the owner before
        while self.unfinished and self._is_past(self.unfinished[0], final.start_sample):
            published.append(self._part(self.unfinished[0], "", last=True))
        if not self.unfinished:
            return [*published, *self._late(final)]
        utterance = self.unfinished[0]
        text = final.text
        if final.until_sample <= utterance.start:  # late words of an utterance before this one
            text = self._new_words(final)
            if not text:
                return published
        last = final.end_of_turn is True or utterance.covered_by(final.until_sample)
        published.append(self._part(utterance, text, last=last, final=final))
        return published

    def heard_interim(self, interim: HeardInterim) -> list[Event]:
        """Publish the words of the open utterance so far; [] for an utterance that has its last part."""
        utterance = next((one for one in self.unfinished if one.until is None), None)
        if utterance is None:
            return []
        utterance.interim = interim.text
        text = " ".join([*utterance.texts, interim.text]).strip()
        start = utterance.start if utterance.parts else interim.start_sample
        return [
            TranscriptInterim(
                utterance=utterance.number, text=text, start_sample=start, until_sample=interim.until_sample
            )
        ]

    def turn_judged(self, at: int, probability: float) -> list[Event]:
        """Publish the recognizer's judgement on the newest utterance; [] before the first."""
        if self._next == 0:
            return []
        number = self._next - 1
        return [TurnJudged(utterance=number, at_sample=at, probability=probability, source="recognizer")]

    def give_up_on(self, utterances: Iterable[Utterance]) -> list[Event]:
        """Close utterances of the owner before in which nothing was recognized again; [] for all others."""
        published: list[Event] = []
        for utterance in utterances:
            if utterance not in self.unfinished or utterance is self._speaking:
                continue
            if utterance.until is None:
                utterance.until = utterance.settled
                published.append(
                    SpeechEnded(utterance=utterance.number, until_sample=utterance.until, final_within_ms=0)
                )
            published += self.force_last(utterance)
        return published

    # --- deadlines ----------------------------------------------------------------------------------------------------

    def force_last(self, utterance: Utterance) -> list[Event]:
        """Close an utterance whose recognizer is overdue; [] if it has its last part."""
        if utterance not in self.unfinished:
            return []
        forced = self._part(utterance, utterance.interim, last=True)
        self._forced.append(forced)
        return [forced]

    # --- parts --------------------------------------------------------------------------------------------------------

    def _open(self, at: int) -> Utterance:
        utterance = Utterance(self._next, at, settled=at)
        self._next += 1
        self.unfinished.append(utterance)
        return utterance

    def _is_unfinished(self, final: HeardFinal) -> bool:
        """Return whether a final overlaps an unfinished utterance."""
        return any(
            final.until_sample > one.start and (one.until is None or final.start_sample < one.until)
            for one in self.unfinished
        )

    def _is_past(self, utterance: Utterance, start: int) -> bool:
        """Return whether a final that starts at `start` shows that `utterance` gets no more text."""
        following = len(self.unfinished) > 1
        return following and utterance.until is not None and start >= utterance.until + COVERED

    def _part(self, utterance: Utterance, text: str, *, last: bool, final: HeardFinal | None = None) -> TranscriptFinal:
        start = final.start_sample if final else utterance.settled
        until = final.until_sample if final else max(start, utterance.until or start)
        part = TranscriptFinal(
            utterance=utterance.number,
            text=text,
            start_sample=start,
            until_sample=until,
            words=final.words if final else (),
            end_of_turn=final.end_of_turn if final else None,
            part=utterance.parts,
            last=last,
            provider=self.provider,
            audio_ms=samples_to_ms(until - start, CALLER_HZ) if text or final else 0,
        )
        utterance.parts += 1
        utterance.settled, utterance.interim = until, ""
        self._until = max(until, self._until)
        if text:
            utterance.texts.append(text)
        if last:
            self.unfinished.remove(utterance)
        return part

    def _late(self, final: HeardFinal) -> list[Event]:
        """Publish a final whose utterance has its last part, as an utterance of its own."""
        text = self._new_words(final)
        if not text:
            return []
        final = HeardFinal(text, final.start_sample, final.until_sample, final.words, final.end_of_turn)
        if (open_one := self._speaking) is not None:  # the turn went on after the recognizer's end of turn
            ended = SpeechEnded(utterance=open_one.number, until_sample=final.start_sample, final_within_ms=0)
            begun = self._speaking = self._open(final.start_sample)
            started = SpeechStarted(utterance=begun.number, start_sample=begun.start)
            return [ended, started, self._part(begun, text, last=final.end_of_turn is True, final=final)]
        own = self._open(final.start_sample)
        own.until = final.until_sample
        return [
            SpeechStarted(utterance=own.number, start_sample=own.start),
            SpeechEnded(utterance=own.number, until_sample=own.until, final_within_ms=0),
            self._part(own, text, last=True, final=final),
        ]

    def _new_words(self, final: HeardFinal) -> str:
        """Return the words of a late final that were not published by a forced part of the same audio."""
        known = next((one for one in self._forced if one.until_sample > final.start_sample), None)
        if known is None or not known.text:
            return final.text
        self._forced.remove(known)
        if same_words(known.text, final.text):
            return ""
        return after(known.text, final.text) or final.text
