"""Word error rate: what share of the words that were said would have to be changed to get what was heard."""

import re

_JOINED = {"to-morrow": "tomorrow", "to-day": "today", "good-bye": "goodbye"}  # spellings of an older age


def words(text: str) -> list[str]:
    """Without case, punctuation and old spellings: "To-morrow, it's fine." -> tomorrow it's fine."""
    text = text.lower().replace("\u2019", "'")
    for old, new in _JOINED.items():
        text = text.replace(old, new)
    return re.findall(r"[a-z0-9]+(?:'[a-z]+)*", text)


def word_error_rate(said: str, heard: str) -> float:
    """Substitutions, deletions and insertions over the number of words said, which is at least one."""
    reference, hypothesis = words(said), words(heard)
    row = list(range(len(hypothesis) + 1))  # errors between the reference so far and each prefix of the hypothesis
    for count, word in enumerate(reference, 1):
        diagonal, row[0] = row[0], count
        for place, other in enumerate(hypothesis, 1):
            diagonal, row[place] = row[place], min(row[place] + 1, row[place - 1] + 1, diagonal + (word != other))
    return row[-1] / len(reference)
