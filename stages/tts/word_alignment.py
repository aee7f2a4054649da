"""The words of a vendor -> the words of the sentence that the caller reads and the history keeps. Pure.

A vendor reports the words that it said: normalized ("fifty percent"), respelled, with or without punctuation. The
history looks for the words of the sentence itself ("50%").
"""

import re

from schemas.events import Word

AHEAD = 8  # words of the sentence among which a reported word is looked for; normalization changes fewer in a row


Timed = tuple[str, int, int]  # a reported word, its start and its end in ms


class Letters:
    """Joins the characters that a vendor reports to words."""

    def __init__(self) -> None:
        self._word: Timed | None = None

    def add(self, letter: str, start_ms: int, end_ms: int) -> Timed | None:
        """Take one character. Return the word that it ends, if it is a space."""
        if letter.isspace():
            return self.end()
        text, began_ms, _ = self._word or ("", start_ms, end_ms)
        self._word = text + letter, began_ms, end_ms
        return None

    def end(self) -> Timed | None:
        """Return the word that was not ended."""
        word, self._word = self._word, None
        return word


class WordAlignment:
    """Aligns the words of one sentence as their times come in. Times are ms from the start of the segment."""

    def __init__(self, text: str) -> None:
        self._words = [word for word in text.split() if re.search(r"\w", word)]
        self._next = 0  # the first word without times
        self._end_ms = 0  # of the last word with times
        self._pending_end_ms = 0  # of reported words that no word of the sentence equals

    def add(self, text: str, start_ms: int, end_ms: int) -> tuple[Word, ...]:
        """Take one word that the vendor reported. Return the words of the sentence whose times are now known."""
        start_ms = max(start_ms, self._end_ms)
        end_ms = max(start_ms, end_ms)
        bare = _bare(text)
        for place in range(self._next, min(self._next + AHEAD, len(self._words))):
            if bare and _bare(self._words[place]) == bare:
                known = self._share(place, start_ms)
                self._next, self._end_ms = place + 1, end_ms
                self._pending_end_ms = end_ms
                return (*known, Word(self._words[place], max(start_ms, known[-1].end_ms if known else 0), end_ms))
        self._pending_end_ms = max(self._pending_end_ms, end_ms)
        return ()

    def end(self, duration_ms: int) -> tuple[Word, ...]:
        """Return the words that are left, at the end of the segment's audio."""
        until = min(self._pending_end_ms, duration_ms) if self._pending_end_ms > self._end_ms else duration_ms
        known = self._share(len(self._words), max(until, self._end_ms))
        self._next = len(self._words)
        return known

    def _share(self, until: int, until_ms: int) -> tuple[Word, ...]:
        """Share the time since the last known word among the words before `until`, by their length."""
        words = self._words[self._next : until]
        total = sum(map(len, words))
        start_ms, said, shared = self._end_ms, 0, []
        for word in words:
            begins = start_ms + (until_ms - start_ms) * said // total
            said += len(word)
            shared.append(Word(word, begins, start_ms + (until_ms - start_ms) * said // total))
        return tuple(shared)


def _bare(word: str) -> str:
    return re.sub(r"[\W_]", "", word).casefold()
