"""Removes from a small model's text the words that noise explains and the words that are known already. Pure.

Moonshine tiny writes `You` for audio without voice: for all of 66 coughs, clicks and noises from -40 to -12 dBFS, and
for silence. Only for a hum it may write `Oh`. For 100 ms out of a word it writes some short word.
"""

import re

from schemas.audio import CALLER_HZ

WORDLESS = CALLER_HZ * 100 // 1000  # voice shorter than this holds no word: the shortest, `no` or `hi`, takes 150 ms
NOTHING_HEARD = "you"  # a caller who means this word says more; an answer to noise would come out of nowhere
READ_ANEW = 1 / 3  # of the known words may differ when they are transcribed again; with more it is another text


def filter_hallucinations(text: str, voiced: int) -> str:
    """Return `text`, or "" if noise alone explains it. voiced: samples of speech that VAD found in its audio."""
    text = " ".join(text.split())
    if voiced < WORDLESS or text.strip(" .,?!").lower() == NOTHING_HEARD:
        return ""
    return text


def after(known: str, text: str) -> str:
    """Return the end of `text` behind `known`, which may be written a little differently; "" if there is none."""
    before, parts = [_plain(word) for word in known.split()], text.split()
    row = list(range(len(parts) + 1))  # row[n]: differences between the known words so far and the first n parts
    for count, word in enumerate(before, 1):
        diagonal, row[0] = row[0], count
        for place, part in enumerate(parts, 1):
            diagonal, row[place] = (
                row[place],
                min(row[place] + 1, row[place - 1] + 1, diagonal + (word != _plain(part))),
            )
    end = min(range(len(row)), key=lambda place: (row[place], abs(place - len(before))))
    return " ".join(parts[end:]) if row[end] <= len(before) * READ_ANEW else ""


def same_words(one: str, other: str) -> bool:
    """Return whether both texts have the same words, whatever their punctuation and capitals."""
    return [_plain(word) for word in one.split()] == [_plain(word) for word in other.split()]


def _plain(word: str) -> str:
    return re.sub(r"[^\w']", "", word).lower()
