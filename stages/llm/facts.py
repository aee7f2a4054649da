"""Which facts an utterance asks for: a lexical match over the fact sheet, pure, the same for every provider.

A fact is found by its `asks`, the words in which people ask for it. Synonyms stand there and nowhere else: whoever
writes a fact sheet can see why a fact was found. Common words weigh little and rare ones much (inverse document
frequency over the sheet itself), endings are dropped, and a long word that was misheard counts as the word of the sheet
that it is nearly spelled like.
"""

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from difflib import SequenceMatcher

from schemas.agent import AgentFact
from stages.providers import Message

Scored = tuple[float, AgentFact]

MATCHED = 0.55  # from here on the fact itself is the answer
RELATED = 0.30  # below, the sheet knows nothing of it
CHOSEN = 4  # facts handed to a model: small models lose the thread with more

VAGUE = 0.25  # weight of a question word or a `not`: they stand in too many questions to tell one from another
STRANGE = 0.5  # weight of a word that the sheet does not know, against 1 for its rarest: most are chatter
NEARLY = 0.8  # spelled this alike, two long words are one misheard; `patience` and `patients` are 0.88 alike
LONG = 5  # letters; shorter words are alike by chance
EARLIER = 0.35  # what was asked just before counts this much in a question that follows up
ASKED, SAID = 1.0, 0.5  # a word found in how people ask, and one found only in the fact's text

# Words that say nothing of what is asked. Question words stay: `where` and `how much` are half of what is asked.
_EMPTY = frozenset(
    (
        "a an and the of to in on at for from by with as or so but if than then that this these those there here it "
        "its is are was were be been am do does did done have has had having will would could should can may might "
        "must shall i me my we us our you your yours he him his she her they them their no yes please just really "
        "very well um uh er oh ok okay hi hello hey thanks thank get got go going come any some anything something "
        "about like want need know tell say let exactly actually maybe quite kind sort guys folks lot bit also too "
        "anyway right now s t m re ve ll d up out give gave look find show keep try put thing way sure still ever "
        "someone somebody anyone anybody"
    ).split()
)
_QUESTION = frozenset("who what when wher why how which whos not".split())
_FOLLOWS = re.compile(r"^\W*(and|what about|how about|or)\b|\b(that|it|those|there|then)\b", re.IGNORECASE)
_FOLLOW_UP_WORDS = 3  # a question of fewer telling words may lean on the one before


def choose(facts: Sequence[AgentFact], utterance: str, history: Sequence[Message] = ()) -> tuple[Scored, ...]:
    """The `CHOSEN` best facts for `utterance` with scores from 0 to 1, best first; empty only if `facts` is.

    history: the call so far, oldest first; a question such as "and on Sunday?" is read with the one before it.
    """
    earlier = [message.content for message in history if message.role == "user"]
    sheet = [[words(ask) for ask in fact.asks] for fact in facts]
    texts = [words(fact.text) for fact in facts]
    weights = _rarity(
        [{*text, *(word for ask in asks for word in ask)} for text, asks in zip(texts, sheet, strict=True)]
    )
    said = _heard(words(utterance), weights)
    context = _heard(words(earlier[-1]), weights) if earlier and follows_up(utterance) else set[str]()
    scored = [
        (_score(said, context - said, asks, text, weights), fact)
        for fact, asks, text in zip(facts, sheet, texts, strict=True)
    ]
    return tuple(sorted(scored, key=lambda pair: -pair[0])[:CHOSEN])


def words(text: str) -> tuple[str, ...]:
    """The telling words of a text, without their endings, in order."""
    plain = re.findall(r"[a-z0-9]+", text.lower().replace("’", "'").replace("n't", " not").replace("-", " "))
    return tuple(stem(word) for word in plain if word not in _EMPTY)


def stem(word: str) -> str:
    """The word without a common English ending: `prices` and `price`, `cleaned` and `cleaning` are one."""
    for ending, keep in (
        ("ies", "y"),
        ("ing", ""),
        ("ed", ""),
        ("ers", ""),
        ("er", ""),
        ("es", ""),
        ("s", ""),
        ("e", ""),
    ):
        if word.endswith(ending) and len(word) - len(ending) >= 3 and not word.endswith("ss"):
            return word[: -len(ending)] + keep
    return word


def follows_up(utterance: str) -> bool:
    """Whether it can only be understood with what was asked before it."""
    return len(words(utterance)) < _FOLLOW_UP_WORDS and bool(_FOLLOWS.search(utterance))


def _rarity(documents: Sequence[Iterable[str]]) -> dict[str, float]:
    """Each word of the sheet and its weight: 1 if one fact has it, less the more have it."""
    count = Counter(word for document in documents for word in set(document))
    most = math.log(1 + len(documents))
    rare = {word: math.log(1 + len(documents) / n) / most for word, n in count.items()}
    return rare | {word: VAGUE for word in _QUESTION & rare.keys()}


def _heard(said: Iterable[str], known: Mapping[str, float]) -> set[str]:
    """The words said; one that the sheet does not know becomes the one it is nearly spelled like, if there is one."""
    return {word if word in known else _nearest(word, known) for word in said}


def _nearest(word: str, known: Iterable[str]) -> str:
    if len(word) < LONG:
        return word
    alike = ((SequenceMatcher(None, word, other).ratio(), other) for other in known if other[0] == word[0])
    likeness, other = max(alike, default=(0.0, word))
    return other if likeness >= NEARLY and len(other) >= LONG else word


def _score(
    said: set[str], context: set[str], asks: Sequence[Sequence[str]], text: Sequence[str], weights: Mapping[str, float]
) -> float:
    """How much of one way to ask was said, and how much of what was said belongs to this fact: their geometric mean."""
    asked = {word for ask in asks for word in ask}
    if not said & (asked | set(text)):
        return 0.0  # the question before may help a match, it makes none
    strength = {word: 1.0 for word in said} | {word: EARLIER for word in context}
    total = sum(strength[word] * weights.get(word, STRANGE) for word in strength)
    known = sum(
        strength[word] * weights[word] * (ASKED if word in asked else SAID)
        for word in strength
        if word in asked | set(text)
    )
    whole = max(_covered(way, said | context, weights) for way in (*asks, text))
    return math.sqrt(known / total * whole)


def _covered(way: Sequence[str], said: set[str], weights: Mapping[str, float]) -> float:
    """The share of the weight of `way` that was said; question words alone count only if nothing else was said."""
    if _QUESTION.issuperset(way) and not _QUESTION.issuperset(said):  # `where are you` is no part of `where is my dog`
        return 0.0
    total = sum(weights[word] for word in set(way))
    return sum(weights[word] for word in set(way) & said) / total if total else 0.0
