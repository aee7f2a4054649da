"""Text normalization: markup and symbols -> words that can be spoken. Pure.

A provider calls `normalize` with the language of its voice, which it alone knows. This module writes out the classes
that voices differ in or drop, and leaves the others to the voice: docs/adr/0023-text-normalization.md decides class by
class. The provider puts right the faults of its own voice. Captions and history keep the text as it was before.

Letters and digits of the input stay, in words if need be. The exceptions: struck text, tags and targets of links; the
`https://` and `www.` of an address; abbreviations, which become their words ("e.g." -> "for example").
"""

import re

from stages.markup import remove_inline_markup
from stages.tts.english import in_words

# Emoji with their skin tones, joiners, flags and keycaps, by the ranges of Unicode 17: all 5,244 of the package `emoji`
# but those that are signs (arrows, copyright, double marks) or hold a digit or sign of their own (keycaps).
_EMOJI = re.compile(
    "[\U0001f000-\U0001faff\u2139\u2194-\u21aa\u2934\u2935\u2300-\u23ff\u24c2\u25a0-\u27bf\u2b00-\u2bff\u3030\u303d\u3297\u3299"
    "\ufe0e\ufe0f\u20e3\U000e0020-\U000e007f]\u200d?"
)
UNDETERMINED = "und"  # ISO 639: normalization then keeps letters and digits, and makes words of no sign
_SPACES = re.compile(r"[^\S\n]+")
_BEFORE_MARK = re.compile(r" +(?=[,.;:!?](?:\s|$))")
_SAID = re.compile(r"[^\W_]")


def normalize(text: str, language: str = "en") -> str:
    """Return `text`, a sentence of a reply, as words that a voice can say; empty if it has no letter or digit.

    language: the code of the language of `text`, such as "en" or "de-AT". Only English text gets words for its signs
    and codes. Text in any other language only loses its markup, entities and emoji.
    """
    text = _EMOJI.sub(" ", remove_inline_markup(text))
    if language.partition("-")[0].lower() == "en":
        text = in_words(text)
    text = _BEFORE_MARK.sub("", _SPACES.sub(" ", text)).strip()
    return text if _SAID.search(text) else ""
