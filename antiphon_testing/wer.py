"""Word error rate: the share of spoken words that a transcript has wrong."""

import re

_JOINED = {"to-morrow": "tomorrow", "to-day": "today", "good-bye": "goodbye"}  # spellings of old books


def words(text: str) -> list[str]:
    """Return words without case, punctuation and old spellings: "To-morrow, it's fine." -> tomorrow it's fine."""
    text = text.lower().replace("\u2019", "'")
    for old, new in _JOINED.items():
        text = text.replace(old, new)
    return re.findall(r"[a-z0-9]+(?:'[a-z]+)*", text)


_ONES = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
).split()
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()


def spelled(text: str) -> str:
    """Return the text with its figures as they are spoken: "$60 at 9:30 a.m." -> "sixty dollars at nine thirty am"."""
    text = re.sub(r"[$](\d+)", r"\1 dollars", text)
    text = re.sub(r"\b([ap])\.m\b\.?", r"\1m", text.replace(":00", ""))
    text = re.sub(r"(?<=\d)(?=[ap]m\b)", " ", text).replace("-", " ")
    return re.sub(r"\d+", lambda figure: _spoken(figure[0]), text)


def _spoken(figure: str) -> str:
    number = int(figure)
    if len(figure) > 2 or figure.startswith("0"):  # a telephone or house number
        return " ".join(_ONES[int(digit)] for digit in figure)
    if number < len(_ONES):
        return _ONES[number]
    return f"{_TENS[number // 10 - 2]} {_ONES[number % 10] if number % 10 else ''}".strip()


def word_error_rate(said: str, heard: str) -> float:
    """Return substitutions, deletions and insertions over the number of words in `said`, which has at least one."""
    reference, hypothesis = words(said), words(heard)
    row = list(range(len(hypothesis) + 1))  # errors between the reference so far and each prefix of the hypothesis
    for count, word in enumerate(reference, 1):
        diagonal, row[0] = row[0], count
        for place, other in enumerate(hypothesis, 1):
            diagonal, row[place] = row[place], min(row[place] + 1, row[place - 1] + 1, diagonal + (word != other))
    return row[-1] / len(reference)
