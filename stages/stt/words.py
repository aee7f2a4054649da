"""What a small recogniser makes of noise, told from what people say: pure.

Moonshine tiny answers `You` to whatever holds no voice: all of 66 coughs, clicks and noises from -40 to -12 dBFS that were
tried, and silence; only to a hum it may say `Oh`. To a fragment of a word of 100 ms it says some short word.
"""

from schemas.audio import CALLER_HZ

WORDLESS = CALLER_HZ * 100 // 1000  # voice shorter than this holds no word: the shortest, `no` or `hi`, takes 150 ms
NOTHING_HEARD = "you"  # a caller who means it says more than that; an answer to it would come out of nowhere


def spoken(text: str, voiced: int) -> str:
    """`text` without what noise alone explains. voiced: samples of speech that the voice detector found in it."""
    text = " ".join(text.split())
    if voiced < WORDLESS or text.strip(" .,?!").lower() == NOTHING_HEARD:
        return ""
    return text
