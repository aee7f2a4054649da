"""English text -> the same with signs, codes and abbreviations as words. Pure.

The rules run in the order of `_GROUPS`: addresses first, since they are made of signs, and single signs last.
docs/adr/0023-text-normalization.md says which classes are left to the voice, and why.
"""

import re
import unicodedata
from collections.abc import Callable
from itertools import pairwise
from string import ascii_letters

Replacement = str | Callable[[re.Match[str]], str]
Rules = tuple[tuple[str, Replacement], ...]  # patterns and what replaces them, in their order

_DIGITS = ("oh", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_DAYS = {"mon": "Monday", "tue": "Tuesday", "wed": "Wednesday", "thu": "Thursday", "fri": "Friday"}
_DAYS |= {"sat": "Saturday", "sun": "Sunday"}
_MONTHS = {"jan": "January", "feb": "February", "mar": "March", "apr": "April", "may": "May", "jun": "June"}
_MONTHS |= {"jul": "July", "aug": "August", "sep": "September", "oct": "October", "nov": "November", "dec": "December"}
_ABBREVIATIONS = {"e.g.": "for example", "i.e.": "that is", "vs.": "versus", "approx.": "approximately"}
_ABBREVIATIONS |= {"dept.": "department", "w/o": "without", "w/": "with", "hrs": "hours", "yrs": "years"}
_BEFORE_NUMBER = {"no.": "number", "nos.": "numbers", "p.": "page", "pp.": "pages", "fig.": "figure", "ch.": "chapter"}
_BEFORE_NUMBER |= {"ext.": "extension", "vol.": "volume", "№": "number"}
_PER = {"mo": "month", "yr": "year", "wk": "week", "hr": "hour", "h": "hour", "min": "minute", "sec": "second"}
_PER |= {unit: unit for unit in "month year week day night hour minute second person guest room kg lb".split()}
_LENGTHS = {"m": "meters", "cm": "centimeters", "mm": "millimeters", "km": "kilometers"}
_LENGTHS |= {"in": "inches", "ft": "feet", "yd": "yards", "mi": "miles"}
_ONE_LENGTH = {"inches": "inch", "feet": "foot"}

# A sign that stands alone, and the signs of an address.
_SIGNS = {"*": "star", "#": "pound", "&": "and", "@": "at", "+": "plus", "=": "equals", "%": "percent", "/": "slash"}
_SIGNS |= {"<": "less than", ">": "greater than", "_": "underscore", "~": "tilde", "^": "caret", "\\": "backslash"}
_SIGNS |= {"$": "dollars", "×": "times", "÷": "divided by", "−": "minus", "±": "plus or minus", "√": "square root"}
_SIGNS |= {"≤": "less than or equal to", "≥": "greater than or equal to", "≈": "about", "≠": "is not", "∞": "infinity"}
_IN_ADDRESS = {**_SIGNS, ".": "dot", "-": "dash", "?": "question mark", ":": "colon", "#": "hash"}

_DAY = "|".join(_DAYS)
_SHORT_DAY = re.compile(r"\b(Mon|Tue|Wed|Thu|Fri|Sat|Sun)(?:s|rs?)?\b(?:\.(?= ?[a-z\d,]))?")
_SURE_DAY = re.compile(r"\b(?:Tues?|Wed|Thu(?:rs?)?|Fri)\b|\b(?:Mon|Sat|Sun)\b[.:,]? ?\d")
_MONTH = "sept|" + "|".join(_MONTHS)
_CLOCK = r"\d{1,2}(?::\d\d)?"
_TOP_DOMAINS = "com|org|net|edu|gov|io|dev|app|ai|co|uk|de|fr|eu|ca|au|ch|nl|info|example"


# --- codes, digit by digit -----------------------------------------------------------------------------------------


def _digit_by_digit(number: re.Match[str]) -> str:
    groups = re.findall(r"\d+", number[0])
    return ", ".join(" ".join(_DIGITS[int(digit)] for digit in group) for group in groups)


def _telephone(number: re.Match[str]) -> str:
    if re.fullmatch(r"\d+0-\d+00", number[0]):  # "500-1000 people"
        return number[0]
    return _digit_by_digit(number)


def _long_number(number: re.Match[str]) -> str:
    """An order or account, in groups of three, the last of up to four. A round one is a quantity."""
    digits = number[0]
    if digits.endswith("000"):
        return digits
    cuts = [*range(0, len(digits) - 4, 3), len(digits)]
    groups = [digits[start:end] for start, end in pairwise(cuts)]
    return ", ".join(" ".join(_DIGITS[int(digit)] for digit in group) for group in groups)


def _code(code: re.Match[str]) -> str:
    return code[1] + " ".join(_DIGITS[int(digit)] for digit in code[2])


def _keys(keys: re.Match[str]) -> str:
    return " ".join(_SIGNS.get(key) or _DIGITS[int(key)].replace("oh", "zero") for key in keys[0])


def _version(version: re.Match[str]) -> str:
    """Numbers with points between them; four of them are the address of a machine, in which points are dots."""
    if re.fullmatch(r"\d{1,2}\.\d{1,2}\.\d{4}", version[2]):  # a date
        return version[0]
    point = " dot " if version[2].count(".") == 3 and not version[1] else " point "
    return ("version " if version[1] else "") + version[2].replace(".", point)


# --- names and words -----------------------------------------------------------------------------------------------


def _address(address: re.Match[str]) -> str:
    """A mail address, or an address of the web without its scheme, `www.` and the slash at its end."""
    text = re.sub(r"^(?:[a-z]+://)?(?:www\.)?", "", address[0], flags=re.IGNORECASE).rstrip("/")
    return re.sub(r"[^\w\s]|_", lambda sign: f" {_IN_ADDRESS.get(sign[0], ' ')} ", text)


def _short_days(whole: re.Match[str]) -> str:
    """Days in full. "Sat" and "Sun" are words, too, so that one alone needs a time behind it."""
    text = whole[0]
    if not _SURE_DAY.search(text) and len(_SHORT_DAY.findall(text)) < 2:
        return text
    return _SHORT_DAY.sub(lambda day: _DAYS[day[1].lower()], text)


def _from_to(names: dict[str, str]) -> Replacement:
    return lambda pair: f"{names[pair[1][:3].lower()]} to {names[pair[2][:3].lower()]}"


def _area(area: re.Match[str]) -> str:
    unit = _LENGTHS[area[2]]
    if area[1] == "1":
        unit = _ONE_LENGTH.get(unit, unit.removesuffix("s"))
    return f"{area[1]} {'square' if area[3] == '²' else 'cubic'} {unit}"


def _vulgar(fraction: re.Match[str]) -> str:
    digits = unicodedata.normalize("NFKC", fraction[2]).replace("\u2044", "/")
    return f"{fraction[1]} and {digits}" if fraction[1] else digits


def _one_of(words: dict[str, str]) -> str:
    return "|".join(map(re.escape, sorted(words, key=len, reverse=True)))


# Addresses, before their signs are taken for others.
_ADDRESSES: Rules = (
    (r"\b[\w.+-]+@[\w-]+(?:\.[\w-]+)+", _address),
    (r"(?i)\b(?:[a-z]{2,6}://|www\.)[^\s<>\"]*[^\s<>\".,;:!?)\]']", _address),
    (rf"(?i)\b(?:[a-z0-9-]+\.)+(?:{_TOP_DOMAINS})\b(?:/[^\s<>\"]*[^\s<>\".,;:!?)\]'])?", _address),
    (r"(?<=[a-z]{2})\.(?=[a-z]{2})", " dot "),  # node.js, report.pdf
)

_WORDS: Rules = (
    (rf"(?i)\b({_DAY}) ?[-–] ?({_DAY})\b", _from_to(_DAYS)),
    (r"(?s).+", _short_days),
    (rf"(?i)\b({_MONTH})\.? ?[-–] ?({_MONTH})\b", _from_to(_MONTHS)),
    (rf"(?i)(?<![\w.])(?:{_one_of(_ABBREVIATIONS)})(?!\w)", lambda short: _ABBREVIATIONS[short[0].lower()]),
)

# Times, codes that are read digit by digit, measures and ranges.
_NUMBERS: Rules = (
    (r"(\d*)([¼½¾⅐-⅞])", _vulgar),
    (rf"(?i)\b({_MONTH})\b\.?(?= \d)", lambda month: _MONTHS[month[1][:3].lower()]),
    (r"(?i)\b(\d{1,2})\.(\d\d) ?([ap]m)\b", r"\1:\2 \3"),
    (rf"(?i)\b({_CLOCK} ?(?:am|pm)?) ?[-–] ?({_CLOCK} ?(?:am|pm))\b", r"\1 to \2"),
    (r"(?i)(?<=\d [ap]\.m\.) ?[-–] ?(?=\d)|(?<=:\d\d) ?[-–] ?(?=\d)", " to "),
    (rf"(?i)\b({_CLOCK}) ?([ap]m)\b", lambda time: f"{time[1]} {time[2].upper()}"),  # "am" may be the verb
    (r"(?<![\w*#$£€.,])(?:\*[*#\d]*\d[*#\d]*|#+\d+[*#][*#\d]*|\d+[*#])(?![\w*#])", _keys),
    (r"(?<![\w)])\+(?=(?:[ ().-]{0,2}\d){7})\d{1,3}(?:[ .-]?\(?\d{1,4}\)?){2,6}(?!\w)", _digit_by_digit),
    (r"(?<![\w$£€.,])(?:\d[ .-])?(?:\(\d{3}\) ?|\d{3}[ .-])\d{3}[ .-]\d{4}(?![\w%])", _digit_by_digit),
    (r"(?<![\w$£€.,])(?:\d{4}[ -]){3}\d{4}(?!\w)", _digit_by_digit),
    (r"(?<![\w$£€.,])0\d{1,4}(?:[ -]\d{3,4}){1,3}(?![\w%]|[.,]\d)", _digit_by_digit),
    (r"(?<![\w$£€.,])\d{2,3}(?:[ -]\d{3,4})+[ -]\d{4}(?![\w%]|[.,]\d)", _digit_by_digit),
    (r"(?<![\w$£€.,-])\d{3}[ -]\d{4}(?![\w%-]|[.,]\d)", _telephone),
    (r"(?<![\w.,:/-])0\d+(?![\w%:/-]|[.,]\d)", _digit_by_digit),
    (r"(?<![\w.,$£€-])\d{7,}(?![\w,%]|\.\d)", _long_number),
    (
        r"(?i)\b((?:code|pin|zip|order|account|booking|reservation|confirmation|reference|tracking)"
        r"(?: (?:code|number|no\.?))?(?: is)?:? #?)(\d{4,6})\b(?![.,:/-]\d)",
        _code,
    ),
    (r"(?<![\d.,])(\d{1,3})\.(\d{3})\.(\d{3})(?![\d.]\d|\d)", r"\1,\2,\3"),
    (r"(?<![\w.])((?i:version )?v)?(\d+(?:\.\d+){2,})(?![\d.]*/)", _version),
    (r"\b(?i:version )?v(\d+(?:\.\d+)?)\b", r"version \1"),
    (rf"(?i)(?<![\w.])({_one_of(_BEFORE_NUMBER)}) ?(?=\d)", lambda short: f"{_BEFORE_NUMBER[short[1].lower()]} "),
    (r"(?<![\d/.])(\d+) (?=[1-9]/(?:[2-9]|10|12|16|32)\b(?!/))", r"\1 and "),
    (r"\b(\d[\d.,]*) ?(m|cm|mm|km|in|ft|yd|mi)([²³])", _area),
    (r"(?i)(?<=\d) ?sq\.? ?ft\b\.?", " square feet"),
    (r"(\d)['′](\d{1,2})(?:[\"″”]|\b)", r"\1 foot \2"),
    (r"(\d ?ft\.? \d{1,2}) in\b", r"\1 inches"),
    (r"\b1 ?h(?= ?\d+ ?min\b)", "1 hour"),
    (r"(?<=\d) ?h(?= ?\d+ ?min\b)", " hours"),
    (rf"(?<=\d) ?/ ?({_one_of(_PER)})\b", lambda unit: f" per {_PER[unit[1]]}"),
    (r"\b24/7\b(?!/)", "24 7"),
    (r"([$£€])[-−](?=\d)", r"minus \1"),
    (r"(?<=\d) ?[-–] ?(?=[$£€]\d)|(?<=%) ?[-–] ?(?=\d)|(?<=\d) ?– ?(?=\d)", " to "),
    (r"(?<=[\d.][MKBk]) ?[-–] ?(?=[$£€]?\d)", " to "),
    (r"(?<=\d) ?[x×] ?(?=\d[\d.]* ?(?:mm|cm|m|km|in|ft|inches|feet|meters)\b)|(?<=\d)x(?=\d)", " by "),
    (r"(?<=\d) x (?=\d)|(?<=\d)[x×](?!\w)(?! ?\d)", " times "),
)

_BETWEEN_WORDS: Rules = (
    (r" ?(?:[-=]+>|[→⇒➜]) ?", ", "),
    (r"(?<=[\w)])(?:\^|\*\*)(?=[\w(-])", " to the power of "),
    (r"(?<=[\d)]) ?[*×·] ?(?=[\d(])|(?<=\b[^\W_])\*(?=[^\W_]\b)", " times "),
    (r"(?<=[\d)]) ?÷ ?(?=[\d(])|(?<=[\d)]) / (?=[\d(])", " divided by "),
    (r"(?<=[\w)]) ?\+ ?(?=[\d(])", " plus "),
    (r"(?<=\d)\+(?!\w)", " plus"),
    (r"(?<=[\w)]) - (?=[\d.,]+ ?(?:=|is\b|equals\b))", " minus "),
    (r"(?<![\w)\].,-])-(?=[$£€]?\.?\d)|−(?= ?[\w$£€])", " minus "),
    (r" ?(?:<=|≤) ?(?=[\w$£€])", " less than or equal to "),
    (r" ?(?:>=|≥) ?(?=[\w$£€])", " greater than or equal to "),
    (r" ?(?:!=|≠) ?(?=[\w$£€])", " is not "),
    (r"(?<![<>])<(?= ?[\w$£€-])", " less than "),
    (r"(?<![<>])>(?= ?[\w$£€-])", " greater than "),
    (r"(?<![=\s]) ?(?<!=)={1,2}(?!=) ?(?=[\w$£€-])", " equals "),
    (r"[~≈](?= ?[$£€]?\d)", "about "),
    (r"±(?= ?\d)", "plus or minus "),
    (r"√(?= ?[\w(])", "square root of "),
    (r"# ?(?=\d)", "number "),
    (r"\b([A-G])#", r"\1 sharp"),
    (r"#(?=[^\W\d_]{2})", "hashtag "),
    (r"(?<![\w&])@(?=\w)", "at "),
    (r"(?<=[^\W\d_]{3})&(?=[^\W\d_]{3})|(?<=\d)&(?=\d)", " and "),
    (r"\b(and)/(or)\b|\b([a-z]{2,})/(?=[a-z]{2,}\b)", lambda pair: "and or" if pair[1] else f"{pair[3]} or "),
    (r"©", "copyright "),
    (r"[®™℠•]", " "),
    (r" ?\| ?", ", "),
    (r" ?-{2,} ?", " — "),
)

_ALONE: Rules = (
    (
        rf"(?<![^\s(\[“\"'‘])([{re.escape(''.join(_SIGNS))}])(?=[\s)\]”\"'’.,;:!?]|$)",
        lambda sign: _SIGNS[sign[1]],
    ),
    (r"[*_`#~|<>\[\]{}\\^]+|={2,}", " "),
)

# Each group with the characters that its rules look for: with none of them in the text it has nothing to do.
_ANY_SIGN = frozenset("".join(_SIGNS) + "-→⇒➜!·©®™℠•|`[]{}")
_GROUPS = tuple(
    (characters, tuple((re.compile(pattern), replacement) for pattern, replacement in rules))
    for characters, rules in (
        (frozenset(".@/"), _ADDRESSES),
        (frozenset(ascii_letters), _WORDS),
        (frozenset("0123456789¼½¾⅐⅑⅒⅓⅔⅕⅖⅗⅘⅙⅚⅛⅜⅝⅞"), _NUMBERS),
        (_ANY_SIGN, (*_BETWEEN_WORDS, *_ALONE)),
    )
)


def in_words(text: str) -> str:
    """Return `text` with its signs, codes and abbreviations as English words."""
    for characters, rules in _GROUPS:
        if not characters.isdisjoint(text):
            for pattern, replacement in rules:
                text = pattern.sub(replacement, text)
    return text
