"""Folds probabilities of speech into onsets and offsets: pure, counted in samples of the caller's audio.

A window is speech from ON upwards, and once there is speech, from OFF upwards: probabilities between the two neither
start nor end anything. Speech begins when it has lasted MIN_SPEECH, so that a click starts nothing. It ends when
silence has lasted SILENCE, so that the gap before a `t` ends nothing.
"""

from typing import NamedTuple

from schemas.audio import CALLER_HZ

WINDOW = 512  # 32 ms: the only window that Silero takes at 16 kHz
ON = 0.5
OFF = 0.35
MIN_SPEECH = CALLER_HZ * 50 // 1000
SILENCE = CALLER_HZ * 250 // 1000
LONGEST_GAP = 10 * CALLER_HZ  # in a caller's audio; the sound before a longer one says nothing about what follows
UNREAD = CALLER_HZ * 100 // 1000  # more of it waits only in a worker that is overloaded


class Onset(NamedTuple):
    """Speech began. at: first sample of its first window."""

    at: int


class Offset(NamedTuple):
    """Speech ended. at: the sample after its last window. silence: samples since. voiced: samples of speech."""

    at: int
    silence: int
    voiced: int

    def silence_until(self, heard: int) -> int:
        """Return the samples of silence if `heard` is the newest sample: no turn waits until a window is judged.

        Audio that is not judged yet counts as silence up to UNREAD: a recording that is sent at once is far ahead.
        """
        return max(self.silence, min(heard - self.at, self.silence + UNREAD))


class VoiceActivity:
    """Folds one probability a window into onsets and offsets, which alternate, an onset first."""

    def __init__(self) -> None:
        self.speaking = False
        self.silence = 0  # samples since the last window of speech; 0 within speech
        self.voiced = 0  # samples of speech since the last onset
        self._onset: int | None = None  # of speech, or of what may become speech
        self._last = 0  # the sample after the last window of speech

    @property
    def undecided(self) -> bool:
        """Return whether the next window may begin speech, or end it."""
        return self.silence + WINDOW >= SILENCE if self.speaking else self._onset is not None

    def step(self, probability: float, at: int) -> Onset | Offset | None:
        """Fold in the window that begins at sample `at`, never less than before. probability: that it is speech."""
        end = at + WINDOW
        if probability >= (ON if self._onset is None else OFF):
            return self._voice(at, end)
        self.silence = end - self._last
        if not self.speaking:
            self._onset = None
        elif self.silence >= SILENCE:
            self.speaking, self._onset = False, None
            return Offset(self._last, self.silence, self.voiced)
        return None

    def stop(self, now: int) -> Offset | None:
        """End the speech that is open: the caller is gone at sample `now`."""
        if not self.speaking:
            return None
        self.speaking, self._onset = False, None
        return Offset(self._last, max(0, now - self._last), self.voiced)

    def _voice(self, at: int, end: int) -> Onset | None:
        if self._onset is None or (not self.speaking and at != self._last):  # sound before a jump is no speech
            self._onset, self.voiced = at, 0
        self._last, self.silence = end, 0
        self.voiced += WINDOW
        if self.speaking or end - self._onset < MIN_SPEECH:
            return None
        self.speaking = True
        return Onset(self._onset)
