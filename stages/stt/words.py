"""What a small recogniser makes of noise, told from what people say: pure.

Moonshine tiny, given a breath, a click or nothing at all, answers `You` or a number such as `10.`, alone or before and after
real words (measured on noise, clicks, hum and silence; bench/transcribe.py --noise repeats it). Real words of that shape
take their time: nobody says `you` in less than BRIEF of voice without it being a noise more often than not.
"""

import re

from schemas.audio import CALLER_HZ

WORDLESS = CALLER_HZ * 100 // 1000  # voice shorter than this holds no word: the shortest, `no` or `hi`, takes 150 ms
BRIEF = CALLER_HZ * 320 // 1000

_ARTEFACT = re.compile(r"\W*(you|\d{1,2}|thank you|the|bye|oh|uh|um)?\W*", re.IGNORECASE)


def spoken(text: str, voiced: int) -> str:
    """`text` without what noise alone explains. voiced: samples of speech that the voice detector found in it."""
    text = " ".join(text.split())
    if voiced < WORDLESS or (voiced < BRIEF and _ARTEFACT.fullmatch(text)):
        return ""
    return text
