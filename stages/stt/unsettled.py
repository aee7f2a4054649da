"""The audio and the speech that have no final yet, and finals without the words that are known already: pure."""

from dataclasses import dataclass

from schemas.audio import CALLER_HZ, samples_to_ms
from session.audio_buffer import AudioBuffer
from stages.stt.contract import HeardFinal
from stages.stt.postprocess import same_words
from stages.stt.utterances import COVERED
from stages.stt.voice_activity import LONGEST_GAP, Offset, Onset

PREFIX = CALLER_HZ // 2  # audio before the onset that is replayed too: VAD reports speech late
OVER = 2 * CALLER_HZ  # after an offset: a recognizer that has settled all but a breath of the speech owes no more


@dataclass(frozen=True, slots=True)
class Spoken:
    """An onset or an offset, and the end of the audio that VAD had when it reported it."""

    reported: int
    heard: Onset | Offset


class Unsettled:
    """Follows one caller. settled: sample up to which the words are known. fed: the end of the recognizer's audio."""

    def __init__(self) -> None:
        self.audio = AudioBuffer(longest_gap=LONGEST_GAP)
        self.settled = 0
        self.fed = 0
        self.speech: list[Spoken] = []  # begins with an onset
        self._text = ""  # of the newest final that has words

    def settle(self, final: HeardFinal) -> HeardFinal | None:
        """Return `final` without words that an earlier final holds; None if nothing of it is new."""
        trimmed = self._trimmed(final)
        if trimmed is None:
            return None
        self._text = trimmed.text or self._text
        self.settled = max(self.settled, trimmed.until_sample)
        self.forget()
        return trimmed

    def is_settled(self, offset: Offset) -> bool:
        """Return whether the recognizer may owe no more words before `offset`: it and VAD differ about its place."""
        return self.settled >= offset.at - COVERED

    def forget(self) -> None:
        """Release speech and audio whose words are known."""
        while len(self.speech) > 1:
            offset = self.speech[1].heard
            over = self.fed >= offset.at + OVER and self.settled >= offset.at - COVERED
            if self.settled < offset.at and not over:
                break
            del self.speech[:2]
        self.audio.forget(min(self.begin, self.fed))

    @property
    def begin(self) -> int:
        """The first sample that another recognizer needs."""
        onset = self.speech[0].heard.at if self.speech else self.audio.end
        return max(self.settled, onset - PREFIX)

    def missed(self) -> list[Spoken]:
        """Return the speech that another recognizer needs, the first onset within the audio from `begin`."""
        return [
            Spoken(one.reported, Onset(max(one.heard.at, self.begin))) if isinstance(one.heard, Onset) else one
            for one in self.speech
        ]

    def _trimmed(self, final: HeardFinal) -> HeardFinal | None:
        if final.start_sample >= self.settled:
            return final
        if final.until_sample <= self.settled:
            return None
        known_ms = samples_to_ms(self.settled - final.start_sample, CALLER_HZ)
        words = tuple(word for word in final.words if (word.start_ms + word.end_ms) / 2 >= known_ms)
        text = " ".join(word.text for word in words) if final.words else _without_overlap(self._text, final.text)
        return HeardFinal(text, self.settled, final.until_sample, words, final.end_of_turn)


def _without_overlap(known: str, text: str) -> str:
    """Return `text` without the words at its beginning that `known` ends with."""
    before, parts = known.split(), text.split()
    for count in range(min(len(before), len(parts)), 0, -1):
        if same_words(" ".join(before[-count:]), " ".join(parts[:count])):
            return " ".join(parts[count:])
    return text
