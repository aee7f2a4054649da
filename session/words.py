"""Words of a transcript, for every stage that compares or joins transcripts. Pure."""

import re

_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")


def words(text: str) -> tuple[str, ...]:
    """Return the words of `text` in lower case, without punctuation; a hyphen parts words."""
    return tuple(word.lower().replace("’", "'") for word in _WORD.findall(text))


def joined(text: str, part: str) -> str:
    """Return `text` followed by the next part of the same transcript; either may be empty."""
    return f"{text} {part}" if text and part else text or part
