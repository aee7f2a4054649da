"""Which facts an utterance asks for: a lexical match over the fact sheet, pure, the same for every provider.

A fact is found by its `asks`, the words in which people ask for it. Synonyms stand there and nowhere else: whoever
writes a fact sheet can see why a fact was found. Common words weigh little and rare ones much (inverse document
frequency over the sheet itself), endings are dropped, and a long word that was misheard counts as the word of the sheet
that it is nearly spelled like.
"""

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence, Set
from difflib import SequenceMatcher
from itertools import pairwise

from schemas.agent import AgentFact
from stages.llm.contract import ChatMessage, ScoredFact
from stages.llm.question_parts import question_parts

MATCHED = 0.55  # from here on the fact itself is the answer
RELATED = 0.30  # below, the sheet knows nothing of it
CHOSEN = 4  # facts handed to a model: small models lose the thread with more

VAGUE = 0.25  # weight of a question word or a `not`: they stand in too many questions to tell one from another
STRANGE = 0.5  # weight of a word that the sheet does not know, against 1 for its rarest: most are chatter
STRANGE_OBJECT = 1.5  # the same of the last word: most often what it is all about, as in `do you treat cats`
NEARLY = 0.8  # spelled this alike, two long words are one misheard; `patience` and `patients` are 0.88 alike
LONG = 5  # letters; shorter words are alike by chance
EARLIER = 0.35  # what was asked just before counts this much in a question that follows up
ASKED, SAID = 1.0, 0.5  # a word found in how people ask, and one found only in the fact's text

# Words that say nothing of what is asked. Question words stay: `where` and `how much` are half of what is asked.
_EMPTY = frozenset(
    (
        "directly a an and the of to in on at for from by with as or so but if than then that this these those "
        "there here it its is are was were be been am do does did done have has had having will would could should "
        "can may might must shall i me my we us our you your yours he him his she her they them their no yes please "
        "just really very well um uh er oh ok okay hi hello hey thanks thank get got go going come any some "
        "anything something about like want need know tell say let exactly actually maybe quite kind sort guys "
        "folks lot bit also too anyway right now s t m re ve ll d up out give gave look find show keep try put "
        "thing way sure still ever someone somebody anyone anybody"
    ).split()
)
_QUESTION = frozenset("who what when wher why how which whos not much many long old far lat soon".split())
_WHEN = frozenset(
    "today tomorrow tonight week month day monday tuesday wednesday thursday friday morn afternoon even".split()
)
# The first that fits, and no more: `openings` of a job are not when we `open`.
_ENDINGS = (("ies", "y"), ("ing", ""), ("ed", ""), ("ers", ""), ("er", ""), ("es", ""), ("s", ""), ("e", ""))
_STEM = 3  # letters that stay
_FOLLOWS = re.compile(r"^\W*(and|what about|how about|or)\b|\b(that|it|those|there|then)\b", re.IGNORECASE)
_FOLLOW_UP_WORDS = 3  # a question of fewer telling words may lean on the one before


def choose(facts: Sequence[AgentFact], utterance: str, history: Sequence[ChatMessage] = ()) -> tuple[ScoredFact, ...]:
    """The `CHOSEN` best facts for `utterance` with scores from 0 to 1, best first; empty only if `facts` is.

    A question in parts has one answering fact for each part, if every part has one of its own.
    history: the call so far, oldest first; a question such as "and on Sunday?" is read with the one before it.
    """
    if not facts:
        return ()
    sheet = _Sheet(facts)
    earlier = next((message.content for message in reversed(history) if message.role == "user"), "")
    ranked = sheet.rank(utterance, earlier)
    parts = question_parts(utterance)
    first = [sheet.rank(part, before)[0] for before, part in pairwise((earlier, *parts))]
    if len({id(best.fact) for best in first}) < len(parts) or any(best.score < MATCHED for best in first):
        first = ranked[:1]
    answers = [best._replace(answers=best.score >= MATCHED) for best in first]
    rest = [other for other in ranked if all(other.fact is not best.fact for best in first)]
    return tuple([*answers, *rest][:CHOSEN])


class _Sheet:
    """A fact sheet as telling words, with the weight of each."""

    def __init__(self, facts: Sequence[AgentFact]) -> None:
        self._facts = facts
        self._asks = [[words(ask) for ask in fact.asks] for fact in facts]
        self._texts = [words(fact.text) for fact in facts]
        self._weights = _rarity(
            [
                {*text, *(word for ask in asks for word in ask)}
                for text, asks in zip(self._texts, self._asks, strict=True)
            ]
        )

    def rank(self, utterance: str, earlier: str) -> list[ScoredFact]:
        """Return all facts, best first. earlier: what the caller asked just before, or an empty text."""
        weights = self._weights
        telling = [_heard(word, weights) for word in words(utterance)]
        said = {word: weights.get(word, STRANGE) for word in telling}
        about = [word for word in telling if word not in _WHEN][-1:]
        said |= {word: STRANGE_OBJECT for word in about if word not in weights}
        context = _context(earlier, weights) if follows_up(utterance) else {}
        scored = (
            ScoredFact(_score(said, context, asks, text, weights), fact)
            for fact, asks, text in zip(self._facts, self._asks, self._texts, strict=True)
        )
        return sorted(scored, key=lambda one: -one.score)


def words(text: str) -> tuple[str, ...]:
    """The telling words of a text, without their endings, in order."""
    plain = re.findall(r"[a-z0-9]+", text.lower().replace("’", "'").replace("n't", " not").replace("-", " "))
    return tuple(stem(word) for word in plain if word not in _EMPTY)


def stem(word: str) -> str:
    """The word without a common English ending: `prices` and `price`, `cleaned` and `cleaning` are one."""
    for ending, instead in _ENDINGS:
        if word.endswith(ending) and not word.endswith("ss") and len(word) - len(ending) >= _STEM:
            return word.removesuffix(ending) + instead
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


def _context(earlier: str, weights: Mapping[str, float]) -> dict[str, float]:
    return {word: EARLIER * weights[word] for word in words(earlier) if word in weights}


def _heard(word: str, known: Mapping[str, float]) -> str:
    """The word itself, or for one that the sheet does not know, the one that it is nearly spelled like."""
    if word in known or len(word) < LONG:
        return word
    alike = ((SequenceMatcher(None, word, other).ratio(), other) for other in known if other[0] == word[0])
    likeness, other = max(alike, default=(0.0, word))
    return other if likeness >= NEARLY and len(other) >= LONG else word


def _score(
    said: Mapping[str, float],
    context: Mapping[str, float],
    asks: Sequence[Sequence[str]],
    text: Sequence[str],
    weights: Mapping[str, float],
) -> float:
    """How much of one way to ask was said, and how much of what was said belongs to this fact: their geometric mean."""
    asked = {word for ask in asks for word in ask}
    if not said.keys() & {*asked, *text}:
        return 0.0  # the question before may help a match, it makes none
    strength = {**context, **said}
    known = sum(
        weight * (ASKED if word in asked else SAID)
        for word, weight in strength.items()
        if word in asked or word in text
    )
    whole = max(_covered(way, strength.keys(), weights) for way in (*asks, text))
    return math.sqrt(known / sum(strength.values()) * whole)


def _covered(way: Sequence[str], said: Set[str], weights: Mapping[str, float]) -> float:
    """The share of the weight of `way` that was said; question words alone count only if nothing else was said."""
    if _QUESTION.issuperset(way) and set(way) != said:  # `where are you` is no part of `where is my dog`
        return 0.0
    total = sum(weights[word] for word in set(way))
    return sum(weights[word] for word in set(way) & said) / total if total else 0.0
