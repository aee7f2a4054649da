"""Drops the words that a model repeats when it continues a reply that another model began. Pure.

A model that is asked to continue may continue, start the reply again, or repeat its last sentence. So the words of the
new text are compared with those that were spoken, from each sentence start on. The longest match is dropped.
"""

import re
from collections.abc import Sequence

_WORD = re.compile(r"\w+")
_MARKS_BEHIND = re.compile(r"[^\w\s]*\s*")  # of the last word that is dropped


class Overlap:
    """The filter of one continued reply. spoken: its sentences so far, in order."""

    def __init__(self, spoken: Sequence[str]) -> None:
        self._repeats = [_words(" ".join(spoken[at:])) for at in range(len(spoken))]
        self._held = ""
        self._drop_marks = False
        self._decided = not any(self._repeats)

    def feed(self, text: str) -> str:
        """Return the text that is new, as far as that is known."""
        if self._decided and not self._drop_marks:
            return text
        self._held += text
        if not self._decided and not self._decide(ended=False):
            return ""
        return self._pass_on()

    def flush(self) -> str:
        """Return what is left when the reply has ended."""
        if not self._decided:
            self._decide(ended=True)
        rest, self._drop_marks = self._pass_on(), False
        return rest

    def _decide(self, *, ended: bool) -> bool:
        """Drop the longest repetition; False while a longer one may still come."""
        found = list(_WORD.finditer(self._held))
        words = [word[0].lower() for word in found]
        unfinished = not ended and bool(found) and found[-1].end() == len(self._held)
        whole = words[:-1] if unfinished else words
        if not ended and any(_may_become(repeat, words, whole) for repeat in self._repeats):
            return False
        repeated = max(
            (len(repeat) for repeat in self._repeats if repeat and whole[: len(repeat)] == repeat), default=0
        )
        self._decided, self._drop_marks = True, repeated > 0
        if repeated:
            self._held = self._held[found[repeated - 1].end() :]
        return True

    def _pass_on(self) -> str:
        if self._drop_marks:
            marks = _MARKS_BEHIND.match(self._held)
            assert marks is not None  # it matches the empty text
            if marks.end() == len(self._held):  # more marks may come
                return ""
            self._held, self._drop_marks = self._held[marks.end() :], False
        text, self._held = self._held, ""
        return text


def _may_become(repeat: list[str], words: list[str], whole: list[str]) -> bool:
    """Whether more text may make `words`, of which `whole` are complete, begin with `repeat`."""
    if len(whole) >= len(repeat) or whole != repeat[: len(whole)]:
        return False
    return len(words) == len(whole) or repeat[len(whole)].startswith(words[-1])


def _words(text: str) -> list[str]:
    return [word.lower() for word in _WORD.findall(text)]
