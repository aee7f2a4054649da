"""Text as the local voice reads it right, and in pieces short enough to be heard soon. Pure.

The voice's own reading of numbers, prices, dates and titles is good; here stands only what it was heard to get wrong.
"""

import re

FIRST_PHRASE = 60  # characters: a longer first sentence is cut at its first comma, so that it is heard soon
PHRASE = 240  # characters: a longer sentence is cut at a comma, or else between words

_DAYS = {"mon": "Monday", "tue": "Tuesday", "wed": "Wednesday", "thu": "Thursday", "fri": "Friday"}
_DAYS |= {"sat": "Saturday", "sun": "Sunday"}
_DIGITS = ("oh", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_WORD_JOINER = "\u2060"  # silent and without width

_MARKUP = re.compile(r"[*_`#~|<>\[\]{}\\^]+")
_DAY_RANGE = re.compile(rf"\b({'|'.join(_DAYS)}) ?[-–] ?({'|'.join(_DAYS)})\b", re.IGNORECASE)
_CLOCK = r"\d{1,2}(?::\d\d)?"
_TIME_RANGE = re.compile(rf"\b({_CLOCK} ?(?:am|pm)?) ?[-–] ?({_CLOCK} ?(?:am|pm))\b", re.IGNORECASE)
_HALF_OF_DAY = re.compile(rf"\b({_CLOCK}) ?([ap]m)\b", re.IGNORECASE)
_TELEPHONE = re.compile(r"(?<![\d$£€.,+])\+?(?:\d{1,3}[ -])?\d{2,3}(?:[ -]\d{3,4})*[ -]\d{4}(?![\d%]|[.,]\d)")
_LEADING_ZERO = re.compile(r"(?<![\d.,:/-])0\d+(?![\d%:/-]|[.,]\d)")
_WEB = re.compile(r"\bwww\.", re.IGNORECASE)
_DOMAIN_DOT = re.compile(r"(?<=[a-z0-9])\.(?=(?:com|org|net|io|dev|example)\b)", re.IGNORECASE)
_AFTER_A_NAME = re.compile(r"(?<=[a-z]) (?=[IVXLC][a-z])")
_CLAUSE = re.compile(r"(?<=[,;:—])\s+")


def spoken(text: str) -> str:
    """The text with what the voice misreads written out; empty if nothing in it can be said."""
    text = _MARKUP.sub(" ", text)
    text = _DAY_RANGE.sub(lambda days: f"{_DAYS[days[1].lower()]} to {_DAYS[days[2].lower()]}", text)
    text = _TIME_RANGE.sub(r"\1 to \2", text)
    text = _HALF_OF_DAY.sub(lambda time: f"{time[1]} {time[2].upper()}", text)  # in small letters it may be the verb
    text = _TELEPHONE.sub(_digit_by_digit, text)
    text = _LEADING_ZERO.sub(_digit_by_digit, text)
    text = _DOMAIN_DOT.sub(" dot ", _WEB.sub("", text))
    text = _AFTER_A_NAME.sub(f" {_WORD_JOINER}", text)  # `James Chen` would be "James the zeroth Chen"
    return text if re.search(r"[^\W_]", text) else ""


def phrases(sentences: list[str]) -> list[str]:
    """The sentences in the pieces that are synthesized one by one: the first soon done, none long, none wordless."""
    pieces: list[str] = []
    for sentence in sentences:
        if re.search(r"[^\W_]", sentence):
            pieces += _cut(sentence, PHRASE if pieces else FIRST_PHRASE)
    return pieces


def _digit_by_digit(number: re.Match[str]) -> str:
    groups = re.findall(r"\d+", number[0])
    return ", ".join(" ".join(_DIGITS[int(digit)] for digit in group) for group in groups)


def _cut(sentence: str, most: int) -> list[str]:
    """The sentence itself if it has at most `most` characters, else cut after its first clause, or between words."""
    if len(sentence) <= most:
        return [sentence]
    first, *rest = _CLAUSE.split(sentence, maxsplit=1)
    if rest:
        return [*_cut(first, PHRASE), *_cut(rest[0], PHRASE)]
    if len(sentence) <= PHRASE:
        return [sentence]
    at = sentence.rfind(" ", 1, PHRASE) + 1 or PHRASE
    return [sentence[:at].rstrip(), *_cut(sentence[at:], PHRASE)]
