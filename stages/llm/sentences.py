"""A reply in pieces -> segments that can be spoken: the first clause as early as possible, then sentence by sentence.

Where the pieces are cut makes no difference to the segments.
"""

import re
import unicodedata

MAX_SEGMENT = 300  # characters, some 20 s of speech: more without a stop is no sentence, and a cancel should drop less
CLAUSE_WORDS = 3  # a first clause shorter than this gains less time than its broken melody costs

# What may be a boundary: a line's end, an ideographic stop, or a mark with its closing quotes before white space.
_CANDIDATE = re.compile(r"\n+|[。！？]+|[.!?…]+[\"')\]”’»]*(?=\s)|[,;:](?=\s)|\s[-–—](?=\s)")
_MARK = re.compile(r"[\n。！？.!?…,;:\-–—]")  # without any there is no candidate, which costs more to find out
_LAST_WORD = re.compile(r"[^\s(\"'“‘]*$")

_NEVER_ENDS = frozenset("mr. mrs. ms. mx. dr. prof. st. sr. jr. vs. e.g. i.e. cf. approx. dept. ext. ave. rd.".split())
_MAY_END = frozenset("a.m. p.m. etc. inc. ltd. co.".split())  # ends a sentence if what follows looks like a new one
_BEFORE_NUMBER = frozenset("no. nos. p. pp. fig. ch.".split())
_INITIALS = re.compile(r"(?:[A-Za-z]\.)+$")
_DIGITS_ONLY = re.compile(r"[^\w]*\d+\.$")

_TAG = re.compile(r"</?[A-Za-z!?][^<>]*>")
_LINK = re.compile(r"!?\[([^\[\]]*)\]\([^()\s]*\)")
_LINE_MARK = re.compile(r"^\s*(?:#{1,6}\s+|[-*+•]\s+|>\s+)")
_EMPHASIS = re.compile(r"[*`~]+|(?<!\w)_+|_+(?!\w)")


class Segmenter:
    """The segments of one reply."""

    def __init__(self) -> None:
        self._rest = ""
        self._first = True

    def feed(self, piece: str) -> list[str]:
        """Every segment that `piece` completes."""
        self._rest += piece
        segments = []
        while (cut := self._cut()) is not None:
            segments += self._take(cut)
        return segments

    def flush(self) -> list[str]:
        """What is left when the reply has ended: one segment or none."""
        return self._take(len(self._rest))

    def _take(self, cut: int) -> list[str]:
        segment, self._rest = self._rest[:cut].strip(), self._rest[cut:].lstrip()
        if not segment:
            return []
        self._first = False
        return [segment]

    def _cut(self) -> int | None:
        """Where the next segment ends, None if that cannot be said yet."""
        window = self._rest[: MAX_SEGMENT + 1]
        if len(window) <= MAX_SEGMENT and not _MARK.search(window):
            return None
        for mark in _CANDIDATE.finditer(window):
            verdict = self._ends(mark)
            if verdict is None and len(window) <= MAX_SEGMENT:
                return None
            if verdict:
                return mark.end()
        if len(window) <= MAX_SEGMENT:
            return None
        space = max(window.rfind(" "), window.rfind("\t"))
        return space if space > 0 else MAX_SEGMENT

    def _ends(self, mark: re.Match[str]) -> bool | None:
        """Whether a segment ends at `mark`; None if what follows has to be seen first."""
        before, after = mark.string[: mark.end()], mark.string[mark.end() :].lstrip()
        if mark.group()[0] in "\n。！？":
            return True
        if mark.group().strip()[0] in ",;:-–—":
            return self._first and len(before.split()) >= CLAUSE_WORDS
        if not mark.group().startswith(".") or mark.group().startswith(".."):
            return True
        word = _LAST_WORD.search(before.rstrip("\"')]”’»"))
        return _stop_ends(word.group() if word else "", before, after)


def _stop_ends(word: str, before: str, after: str) -> bool | None:
    """Whether the full stop after `word` ends a sentence."""
    lower = word.lower()
    if lower in _NEVER_ENDS or _DIGITS_ONLY.match(before):
        return False
    if lower in _MAY_END:
        return after[0].isupper() if after else None
    if _INITIALS.match(word):
        return False
    if lower in _BEFORE_NUMBER or word[-2:-1].isdigit():
        return not after[0].isdigit() if after else None
    return True


def plain(text: str) -> str:
    """`text` as it is spoken: without markup, control characters and line breaks."""
    text = _LINK.sub(r"\1", _TAG.sub(" ", text))
    text = _EMPHASIS.sub("", _LINE_MARK.sub("", text))
    if not text.isprintable():
        text = "".join(" " if unicodedata.category(char)[0] in "CZ" else char for char in text)
    return " ".join(text.split())
