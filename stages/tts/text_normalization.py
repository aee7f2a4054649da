"""Text as the local voice reads it right, and in pieces short enough to be heard soon. Pure.

The voice's own reading of numbers, prices, dates and titles is good; here stands only what it was heard to get wrong.
"""

import re

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


def normalize(text: str) -> str:
    """Return `text` with markup and misread symbols as words; empty if it has no letter or digit."""
    text = _MARKUP.sub(" ", text)
    text = _DAY_RANGE.sub(lambda days: f"{_DAYS[days[1].lower()]} to {_DAYS[days[2].lower()]}", text)
    text = _TIME_RANGE.sub(r"\1 to \2", text)
    text = _HALF_OF_DAY.sub(lambda time: f"{time[1]} {time[2].upper()}", text)  # in small letters it may be the verb
    text = _TELEPHONE.sub(_digit_by_digit, text)
    text = _LEADING_ZERO.sub(_digit_by_digit, text)
    text = _DOMAIN_DOT.sub(" dot ", _WEB.sub("", text))
    text = _AFTER_A_NAME.sub(f" {_WORD_JOINER}", text)  # `James Chen` would be "James the zeroth Chen"
    return text if re.search(r"[^\W_]", text) else ""


def _digit_by_digit(number: re.Match[str]) -> str:
    groups = re.findall(r"\d+", number[0])
    return ", ".join(" ".join(_DIGITS[int(digit)] for digit in group) for group in groups)
