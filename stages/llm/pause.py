"""The pause after which words count as a finished turn, between an agent's `min_delay_ms` and `max_delay_ms`. Pure.

The shorter pause is for words that sound finished, the longer one for words that cannot be the last. Other words get a
pause between the two. An answer that begins 740 ms after the last speech is heard after 1.1 s, and few pauses within a
sentence last that long. A caller who has finished with such words waits 440 ms more.
"""

import re
from itertools import pairwise

from schemas.agent import Turns
from session.words import words
from stages.llm.end_of_turn import finished
from stages.llm.endpointing import is_backchannel, open_ended, sounds_unfinished

# Probability that the turn is finished -> share of the way from the shorter pause to the longer one, linear between.
# With the default pauses: 300 ms, 740 ms and 1.2 s. Of finished turns, 4 % are below 0.2 and 0.6 % below 0.05.
CURVE = ((0.05, 0.4), (0.2, 0.2), (0.5, 0.0))
STOPPED = 0.2  # at most, behind a full stop: a recognizer seldom hears the voice fall in the middle of a sentence
# Behind a question mark none at all from here on: few recognizers hear a question in the middle of a sentence.
ASKED = 0.05
PROBABLY = 0.3  # of the way: up to there the caller has probably finished, and the model may begin its reply
DICTATED = 0.6  # of the way: 1.6 s, longer than 9 of 10 pauses between two groups of digits
NUMBER = 7  # digits: a shorter number that is said digit by digit may be the first group of a longer one
GROUP = 3  # digits or letters: fewer are a time, an amount or a number of people

WHOLE = frozenset("no nope hello hi bye goodbye thanks please correct".split())  # answers of one word

_STOP = re.compile(r"[.!]['\")\]”’]*\s*$")
_DIGITS_AND_LETTERS = re.compile(r"(?:\b(?:[a-z]|\d+|oh|zero|double|dash)\b[\s,.\-]*)+$", re.IGNORECASE)
_SPELLED = dict.fromkeys("zero one two three four five six seven eight nine oh".split(), "0")


def pause_ms(text: str, rules: Turns, *, english: bool) -> int:
    """Return the silence after which a caller who said `text` has finished, in milliseconds.

    english: judge the words; otherwise only the punctuation at their end.
    """
    return round(rules.min_delay_ms + _share(text, english) * (rules.max_delay_ms - rules.min_delay_ms))


def probably_finished(text: str, *, english: bool) -> bool:
    """Return whether it is worth to begin a reply to `text` in the pause."""
    return _share(text, english) <= PROBABLY


def dictates(text: str) -> bool:
    """Return whether `text` ends within a number or a word that is said digit by digit, letter by letter."""
    plain = " ".join(_SPELLED.get(word, word) for word in words(text))
    found = _DIGITS_AND_LETTERS.search(plain)
    said = re.sub(r"[^a-z\d]", "", found.group()) if found else ""
    return GROUP <= len(said) < NUMBER and not _one_number(plain)


def _one_number(plain: str) -> bool:
    """Return whether the digits are a single number of a sentence, such as a year or a price: "in 2025"."""
    *before, last = plain.split()
    return last.isdigit() and bool(before) and not re.fullmatch(r"[a-z]|\d+", before[-1])


def _share(text: str, english: bool) -> float:
    if not english:
        return 1.0 if open_ended(text) else 0.0
    if is_backchannel(text) or WHOLE.issuperset(words(text)):
        return 0.0
    probability = finished(text)
    share = _along_curve(probability)
    if text.rstrip().endswith("?"):
        share = 0.0 if probability >= ASKED else STOPPED
    elif _STOP.search(text):
        share = min(share, STOPPED)
    if sounds_unfinished(text):
        return 1.0 if probability < CURVE[-1][0] else max(share, CURVE[1][1])
    return max(share, DICTATED) if dictates(text) else share


def _along_curve(probability: float) -> float:
    if probability <= CURVE[0][0]:
        return CURVE[0][1]
    for (left, above), (right, below) in pairwise(CURVE):
        if probability <= right:
            return above + (below - above) * (probability - left) / (right - left)
    return CURVE[-1][1]
