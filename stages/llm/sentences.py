"""A reply in pieces -> segments that can be spoken: the first clause as early as possible, then sentence by sentence.

Where the pieces are cut makes no difference to the segments. The pieces hold no markup: stages/markup.py removed it.
Every language's own marks end a sentence at once. A full stop may belong to an abbreviation: this module decides the
commonest English ones without seeing the next word, and sentencex decides the others, in every language it knows.
"""

import re
import unicodedata

import sentencex

MAX_SEGMENT = 300  # characters, some 20 s of speech: more without a stop is no sentence, and a cancel should drop less
CLAUSE_WORDS = 3  # a first clause shorter than this gains less time than its broken melody costs

# What may be a boundary: a line's end, a stop of a script that has its own, or a mark with its closing quotes before
# white space.
_STOPS = "。！？｡।॥؟۔።"
_CLAUSE_MARKS = ",;:،؛，、；"
_CANDIDATE = re.compile(rf"\n+|[{_STOPS}]+|[.!?…]+[\"')\]”’»]*(?=\s)|[,;:،؛](?=\s)|[，、；]|\s[-–—](?=\s)")
# Without any of these there is no candidate, which costs more to find out.
_MARK = re.compile(rf"[\n{_STOPS}.!?…{_CLAUSE_MARKS}\-–—]")
_LETTERS_A_WORD = 2  # in Chinese and Japanese, which are written without spaces
_IDEOGRAPH = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]")
_WHOLE = re.compile(rf"[{_STOPS}.!?…][\"')\]”’»]*$")
_CLAUSE_END = re.compile(r"[,;:،؛](?=\s|$)|[，、；]|\s[-–—](?=\s|$)")
_ANY_NAME = "Xx"  # with this as the next word, sentencex judges only the word before the full stop
_LAST_WORD = re.compile(r"[^\s(\"'“‘]*$")

# English only: sentencex knows most of these, but would wait for the next word.
_NEVER_ENDS = frozenset("mr. mrs. ms. mx. dr. prof. st. sr. jr. vs. e.g. i.e. cf. approx. dept. ext. ave. rd.".split())
# These end a sentence if what follows looks like a new one.
_MAY_END = frozenset("a.m. p.m. etc. inc. ltd. co. tue. tues. wed. thu. thurs. fri.".split())
_BEFORE_NUMBER = frozenset("no. nos. p. pp. fig. ch.".split())
_INITIALS = re.compile(r"(?:[A-Za-z]\.)+$")
_DIGITS_ONLY = re.compile(r"[^\w]*\d+\.$")


class Segmenter:
    """Cuts one reply into segments. language: its code, such as "en" or "de-AT"."""

    def __init__(self, language: str = "en") -> None:
        self._language = language.partition("-")[0].lower()
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

    def take_words(self) -> list[str]:
        """Return the whole words of a segment whose end has not come: one segment or none."""
        cut = max(self._rest.rfind(" "), self._rest.rfind("\t"))
        return self._take(cut) if cut > 0 else []

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
        if mark.group()[0] in f"\n{_STOPS}":
            return True
        if mark.group().strip()[0] in f"{_CLAUSE_MARKS}-–—":
            return self._first and _words(before) >= CLAUSE_WORDS
        if not mark.group().startswith(".") or mark.group().startswith(".."):
            return True
        return self._full_stop_ends(before, after)

    def _full_stop_ends(self, before: str, after: str) -> bool | None:
        """Whether the full stop at the end of `before` ends a sentence; None if the next word has to be seen first."""
        found = _LAST_WORD.search(before.rstrip("\"')]”’»"))
        word = found[0] if found else ""
        lower = word.lower()
        number = word[-2:-1].isdigit()
        if _DIGITS_ONLY.match(before):
            return False
        if self._language == "en":
            if lower in _NEVER_ENDS:
                return False
            if lower in _MAY_END:
                return after[0].isupper() if after else None
            if lower in _BEFORE_NUMBER or number:
                return not after[0].isdigit() if after else None
        if _INITIALS.match(word):
            return False
        if not number and self._is_cut(word, _ANY_NAME):
            return True
        following = after.split(maxsplit=1)
        if not following or after == following[0]:
            return None
        return self._is_cut(word, following[0])

    def _is_cut(self, word: str, following: str) -> bool:
        """Whether sentencex ends a sentence between these two words."""
        text = f"{_ANY_NAME} {word} {following}".encode(errors="replace").decode()
        return len(sentencex.segment(self._language, text)) > 1


def _words(text: str) -> int:
    """Count the words of `text`, about, where none are written apart."""
    return len(text.split()) + len(_IDEOGRAPH.findall(text)) // _LETTERS_A_WORD


def without_fragment(text: str, *, alone: bool) -> str:
    """Return what can be spoken of the last segment of a reply that was cut off: up to its last clause.

    alone: nothing was spoken before, so that its whole words are better than nothing.
    """
    if _WHOLE.search(text):
        return text
    clauses = list(_CLAUSE_END.finditer(text))
    if clauses:
        return text[: clauses[-1].start()].rstrip()
    return text.rpartition(" ")[0] if alone else ""


def plain(segment: str) -> str:
    """Return `segment` as one line of printable characters."""
    if not segment.isprintable():
        segment = "".join(" " if unicodedata.category(char)[0] in "CZ" else char for char in segment)
    return " ".join(segment.split())
