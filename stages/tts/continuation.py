"""Where a backup voice goes on in a sentence that another voice has begun. Pure.

With word times the backup goes on at the next word. Without them the position is estimated low: words are repeated
rather than lost.
"""

import re
from collections.abc import Sequence

from schemas.events import Word

PACE = 0.010  # letters a ms, for a voice that has spoken no whole sentence yet: slower than most voices read aloud
CAUTION = 0.8  # of a measured pace, because the pace within a sentence varies

_WORD_START = re.compile(r"(?<!\S)\S")


def behind_words(text: str, words: Sequence[Word]) -> str:
    """Return the rest of `text` behind `words`, which have been spoken. Empty if nothing is left to say."""
    end = 0
    for word in words:
        found = text.find(word.text, end)
        if found >= 0:
            end = found + len(word.text)
    while end and end < len(text) and not text[end].isspace():
        end += 1  # the punctuation of the last word
    return _rest(text, end)


def behind_time(text: str, sounded_ms: float, pace: float) -> str:
    """Return the rest of `text` after `sounded_ms`: from the word in which the voice was by `pace`, at the latest.

    pace: letters a ms, a cautious one. The last word always is a part of the rest: its end was not confirmed.
    """
    said = int(sounded_ms * pace)
    starts = [match.start() for match in _WORD_START.finditer(text) if match.start() <= said]
    return _rest(text, starts[-1] if starts else 0)


def measured_pace(pace: float | None, letters: int, sounded_ms: float) -> float:
    """Return the slower of `pace` and that of a sentence that was spoken to its end."""
    if not letters or sounded_ms <= 0:
        return PACE if pace is None else pace
    latest = CAUTION * letters / sounded_ms
    return latest if pace is None else min(pace, latest)


def _rest(text: str, start: int) -> str:
    rest = text[start:].strip()
    return rest if re.search(r"[^\W_]", rest) else ""
