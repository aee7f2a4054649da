"""What a session's state keeps, and for how long: old entries are shortened, older ones are dropped. Pure.

Every function depends on numbers and never on the order of arrival, so that the fold may be fed in any order.
"""

from collections.abc import Callable
from typing import TypeVar

from msgspec.structs import replace

from session.entries import Text, Turn, Utterance

# Beside a document of 512 kB the state of a session in English fits into a message of 1 MB, whatever is said or typed;
# alone it fits in any script (tests/session/test_state.py).
KEEP = 200  # turns, and utterances: half an hour of rapid talk
KEEP_TEXTS = 30  # of the caller
KEEP_SPOKEN = 8  # turns whose sentences are kept, and texts that are kept whole: older ones have been answered
KEEP_UTTERANCES = 20  # that are kept whole: older ones have been answered
KEEP_SEGMENTS = 100  # of one turn, the first ones: llm ends a longer reply there
KEEP_HISTORY = 50  # turns whose words are kept whole: older ones have been answered, and a prompt has an end
KEEP_HISTORY_CHARACTERS = 40_000  # of those turns, about 10,000 tokens: long answers end the history earlier
KEEP_CHARACTERS = 200  # of each older text

K = TypeVar("K", int, str)
V = TypeVar("V")


def put(table: dict[K, V], key: K, value: V) -> dict[K, V]:
    """Return a copy with one entry more, in the order of the keys whichever event came first."""
    grown = {**table, key: value}
    return grown if key in table else dict(sorted(grown.items()))


def newest(table: dict[int, V], keep: int) -> dict[int, V]:
    """Return the entries less than `keep` numbers behind the newest: by number, not count, so order does not matter."""
    oldest = next(reversed(table)) - keep
    return (
        table if next(iter(table)) > oldest else {number: entry for number, entry in table.items() if number > oldest}
    )


def aged(table: dict[int, V], number: int, is_new: bool, keep: int, shorten: Callable[[V], V]) -> dict[int, V]:
    """Return the table with each entry shortened that is `keep` numbers or more behind the newest."""
    oldest = next(reversed(table)) - keep
    if is_new and next(iter(table)) <= oldest:
        return {one: entry if one > oldest else shorten(entry) for one, entry in table.items()}
    if number <= oldest and number in table:
        return {**table, number: shorten(table[number])}
    return table


def short_utterance(utterance: Utterance) -> Utterance:
    text = utterance.text
    return replace(utterance, text=text[:KEEP_CHARACTERS]) if text and len(text) > KEEP_CHARACTERS else utterance


def short_text(text: Text) -> Text:
    return replace(text, text=text.text[:KEEP_CHARACTERS]) if len(text.text) > KEEP_CHARACTERS else text


def short_turn(turn: Turn, is_new: bool, is_whole: bool) -> Turn:
    """Return the turn, without its sentences unless it is new; if it is not whole, with the beginning of its words."""
    if turn.segments and not is_new:
        turn = replace(turn, segments={})
    elif turn.heard is not None and any(segment.words for segment in turn.segments.values()):
        segments = {place: replace(segment, words=()) for place, segment in turn.segments.items()}
        turn = replace(turn, segments=segments)
    if not is_whole and (len(turn.text) > KEEP_CHARACTERS or len(turn.heard or "") > KEEP_CHARACTERS):
        heard = turn.heard and turn.heard[:KEEP_CHARACTERS]
        turn = replace(turn, text=turn.text[:KEEP_CHARACTERS], heard=heard)
    return turn


def history_of(characters: dict[int, int]) -> dict[int, int]:
    """Return the newest turns whose words are kept whole: the newest one always."""
    last, left = max(characters), KEEP_HISTORY_CHARACTERS
    kept: dict[int, int] = {}
    for number in sorted(characters, reverse=True):
        left -= characters[number]
        if number <= last - KEEP_HISTORY or (left < 0 and kept):
            break
        kept[number] = characters[number]
    return dict(sorted(kept.items()))
