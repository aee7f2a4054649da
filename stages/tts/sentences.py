"""Cuts text into the phrases that a voice synthesizes one by one: the first is short, so that it sounds soon. Pure."""

import re

FIRST_PHRASE = 60  # characters: a longer first sentence is cut at its first comma, so that its sound comes early
PHRASE = 240  # characters: a longer sentence is cut at a comma, or else between words

_CLAUSE = re.compile(r"(?<=[,;:—])\s+")


def phrases(sentences: list[str]) -> list[str]:
    """Cut `sentences` into phrases of at most PHRASE characters each; drop those without a letter or digit."""
    pieces: list[str] = []
    for sentence in sentences:
        if re.search(r"[^\W_]", sentence):
            pieces += _cut(sentence, PHRASE if pieces else FIRST_PHRASE)
    return pieces


def _cut(sentence: str, most: int) -> list[str]:
    """Return `sentence` whole up to `most` characters, else cut after its first clause, or between words."""
    if len(sentence) <= most:
        return [sentence]
    first, *rest = _CLAUSE.split(sentence, maxsplit=1)
    if rest:
        return [*_cut(first, PHRASE), *_cut(rest[0], PHRASE)]
    if len(sentence) <= PHRASE:
        return [sentence]
    at = sentence.rfind(" ", 1, PHRASE) + 1 or PHRASE
    return [sentence[:at].rstrip(), *_cut(sentence[at:], PHRASE)]
