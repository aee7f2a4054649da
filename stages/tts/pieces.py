"""The text of a sentence as it goes to a vendor: in words, with the agent's pronunciations, in pieces. Pure."""

import re
from collections.abc import Mapping

from stages.tts.text_normalization import normalize

PIECE = 240  # characters, 15 s of speech: a vendor works that far ahead of a stage that does not pull

# Where a piece may end, the best place first. The patterns keep the mark with the piece before it.
_ENDS = (re.compile(r"[.!?…。！？]+[\"'”’)\]]*\s+"), re.compile(r"[,;:—，；、]\s*"), re.compile(r"\s+"))


def spoken(text: str, language: str, pronunciations: Mapping[str, str]) -> str:
    """Return `text` as the vendor gets it; empty if it has nothing to say.

    language: of the voice. pronunciations: word -> the spelling with which the voice says it, in any case of letters.
    """
    return respell(normalize(text, language), pronunciations)


def respell(text: str, pronunciations: Mapping[str, str]) -> str:
    """Replace each whole word or phrase that has a pronunciation, the longest first."""
    if not pronunciations:
        return text
    spellings = {word.casefold(): spelling for word, spelling in pronunciations.items()}
    words = "|".join(re.escape(word) for word in sorted(spellings, key=len, reverse=True))
    return re.sub(rf"(?i)(?<!\w)(?:{words})(?!\w)", lambda found: spellings[found[0].casefold()], text)


def pieces(text: str, most: int = PIECE) -> list[str]:
    """Cut `text` into pieces of at most `most` characters: behind a sentence, else a clause, else a word."""
    cut: list[str] = []
    text = text.strip()
    while len(text) > most:
        end = _end(text[:most])
        cut.append(text[:end].rstrip())
        text = text[end:].lstrip()
    return [*cut, text] if text else cut


def _end(text: str) -> int:
    for ends in _ENDS:
        found = [match.end() for match in ends.finditer(text) if match.start()]
        if found:
            return found[-1]
    return len(text)
