"""Judging words alone: is this a backchannel, and does it sound finished? English, by rule."""

import re

from session.words import words

# What listeners say to show that they follow, or as they draw breath; it asks nobody to stop speaking.
BACKCHANNELS = frozenset(
    "mm|mhm|mm hm|mm hmm|hm|hmm|uh huh|ah|aha|oh|um|uh|er|erm|yeah|yes|yep|yup|ok|okay|right|all right|alright|sure"
    "|cool|great|nice|good|fine|i see|got it|of course|exactly|absolutely|oh okay|oh i see|that's right"
    "|makes sense".split("|")
)
# What a recogniser writes for a cough; a question mark behind it is a guess, too.
SOUNDS = frozenset("ah oh um uh er".split())
LONGEST = max(len(phrase.split()) for phrase in BACKCHANNELS)

# Words that no sentence ends on: a full stop after one is the recogniser's habit, not the speaker's.
NEVER_LAST = frozenset(
    "a|an|the|my|your|our|their|his|its|and|or|but|nor|because|if|when|while|although|than|um|uh|er|erm|like"
    "|i'm|i'd|i'll|we're|we'd|you're|it's|there's|every|very".split("|")
)
# Words that a sentence may end on ("what is it for?") but seldom does when nothing marks its end.
SELDOM_LAST = frozenset(
    "to|of|for|in|on|at|by|with|from|about|into|between|is|are|was|were|be|am|do|does|did|have|has|had|can|could|will"
    "|would|should|may|might|must|that|which|who|what|where|how|so|then|i|we|they|he|she|not|also|maybe".split("|")
)

_OPEN_END = re.compile(r"(?:[;:…]|\.\.\.|\s[-–—]|[–—])\s*$")
# Words that join a few more words to the clause before them: "I want to book, for Tuesday," and not one more of a list.
ATTACHES = frozenset(
    "to|of|for|in|on|at|by|with|from|about|between|before|after|around|until|next|this|please|thanks|thank|tomorrow"
    "|today|tonight|too|though|then|again|instead|if".split("|")
)

_COMMA = re.compile(r",\s*$")
FEW_WORDS = 2  # before a last comma: "Well," or one more of a list; after a whole clause a comma says nothing
_STOP = re.compile(r"[.!?]['\")\]”’]*\s*$")


def is_backchannel(text: str, *, whole: bool = True) -> bool:
    """Whether `text` holds nothing but backchannels. whole=False: more may come, so the start of one will do."""
    rest = words(text)
    if not rest or ("?" in text and not SOUNDS.issuperset(rest)):
        return False
    while rest:
        size = next((n for n in range(min(LONGEST, len(rest)), 0, -1) if " ".join(rest[:n]) in BACKCHANNELS), 0)
        if not size:
            return not whole and any(f"{phrase} ".startswith(" ".join(rest)) for phrase in BACKCHANNELS)
        rest = rest[size:]
    return True


def sounds_unfinished(text: str) -> bool:
    """Whether the speaker seems to have more to say: "Well,", "Monday, Tuesday,", "and", "my", "to" ...

    A recogniser that has heard no falling voice ends a whole sentence with a comma, too: there the words decide.
    """
    spoken = words(text)
    if not spoken:
        return False
    if open_ended(text) or (_COMMA.search(text) and _lists(text)):
        return True
    last = spoken[-1]
    if _STOP.search(text):
        return last in NEVER_LAST and "?" not in text[-3:]
    return last in NEVER_LAST or last in SELDOM_LAST


def open_ended(text: str) -> bool:
    """Whether the punctuation says that more follows, in any language: a colon, a dash, three dots."""
    return _OPEN_END.search(text) is not None


def _lists(text: str) -> bool:
    """Whether the words before a trailing comma are a hesitation or one more of a list, and not the end of a clause.

    A few words complete the clause before them if they attach to it, unless that clause has such an attachment already:
    "I can come on Monday, on Tuesday," goes on.
    """
    *before, last = [spoken for piece in text.split(",") if (spoken := words(piece))]
    if len(last) > FEW_WORDS:
        return False
    clause = before[-1] if before else ()
    return len(clause) <= FEW_WORDS or last[0] not in ATTACHES or last[0] in clause[-FEW_WORDS:]
