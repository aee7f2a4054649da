"""Words out of what a small recogniser writes: without what it makes of noise, without what was known before. Pure.

Moonshine tiny answers `You` to whatever holds no voice: all of 66 coughs, clicks and noises from -40 to -12 dBFS that
were tried, and silence; only to a hum it may say `Oh`. To 100 ms out of a word it says some short word.
"""

import re

from schemas.audio import CALLER_HZ

WORDLESS = CALLER_HZ * 100 // 1000  # voice shorter than this holds no word: the shortest, `no` or `hi`, takes 150 ms
NOTHING_HEARD = "you"  # a caller who means it says more than that; an answer to it would come out of nowhere
READ_ANEW = 1 / 3  # of the known words may come out otherwise when they are read again; more is another text


def spoken(text: str, voiced: int) -> str:
    """`text` without what noise alone explains. voiced: samples of speech that the voice detector found in it."""
    text = " ".join(text.split())
    if voiced < WORDLESS or text.strip(" .,?!").lower() == NOTHING_HEARD:
        return ""
    return text


def after(known: str, text: str) -> str:
    """What `text` says after `known`, which may have been read a little differently; "" if it cannot be told."""
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


def _plain(word: str) -> str:
    return re.sub(r"[^\w']", "", word).lower()
