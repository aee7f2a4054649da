"""Telling the caller's words from the agent's own, which come back on a speakerphone. Pure.

A transcript is compared with the words that the agent spoke at that time. In the agent's first turn, and once a call
has shown echo, few words are enough. In any other turn a caller may repeat a word or two of the agent: "Tuesday?". An
utterance that begins well after the agent's end is never echo.
"""

from collections.abc import Set
from difflib import SequenceMatcher
from typing import NamedTuple

from msgspec.structs import replace

from session.entries import Turn
from session.history import heard_text
from session.state import SessionState
from session.words import words

BACK_MS = 2_000  # of the agent's words before an onset: delays of players and networks, and positions by estimate
AHEAD_MS = 400  # word positions are estimated where a voice gives no times
TAIL_MS, SURE_TAIL_MS = 400, 700  # after the agent's end: an onset of echo; the second where the line is known to echo
FIRST_MS, FEW_WORDS = 1_000, 2  # of the agent's first turn: a hold cuts this echo so short that it is misheard
SURE_WORDS = 3  # of the agent that come back are echo: a caller repeats one or two
SHARE = 0.7  # of the words, or letters, of an utterance that is echo; a recognizer mishears some of a quiet echo
ALIKE = 0.7  # of two words: "opening" and "open" are one word that the recognizer cut
MISHEARD_WORDS = 8  # in a longer stretch enough words are right
COMMON_LETTERS = 3  # in a row; fewer are chance
OWN_WORDS = 3  # in a row that the agent did not speak: one or two are often a misheard echo
STOPS = frozenset("stop wait hello sorry excuse hang hold no hey listen pardon".split())  # count alone
KEPT_ONSETS = 16  # utterances whose transcript has not come


class Place(NamedTuple):
    """A position in the agent's speech. ms: of the turn, and on beyond its end. silent_ms: since that end."""

    turn: int
    ms: int
    silent_ms: int = 0


class Echo:
    """Judges the transcripts of one session. echoes: the caller's line has brought the agent's words back."""

    def __init__(self, *, echoes: bool = False) -> None:
        self.echoes = echoes
        self._onsets: dict[int, Place] = {}
        self._came_back = 0  # words

    def started(self, utterance: int, place: Place) -> None:
        """Note where the agent was when the caller's sound began."""
        self._onsets[utterance] = place
        while len(self._onsets) > KEPT_ONSETS:
            del self._onsets[next(iter(self._onsets))]

    def own_words(self, state: SessionState, utterance: int, text: str, now: Place, *, final: bool) -> str:
        """Return what of `text` the caller said. now: where the agent is. final: `text` counts as evidence."""
        onset, heard = self._onsets.get(utterance, now), words(text)
        if not heard or onset.silent_ms > (SURE_TAIL_MS if self.echoes else TAIL_MS):
            return text
        spoken = spoken_words(state, Place(onset.turn, onset.ms - BACK_MS), Place(now.turn, now.ms + AHEAD_MS))
        if not spoken:
            return text
        came_back = matched(heard, spoken)
        first = onset.turn == min(number for number, turn in state.turns.items() if turn.playing)
        first = first and not onset.silent_ms  # behind the agent's end callers answer: "Sales or support?" "Support."
        if self._is_echo(heard, spoken, came_back, onset.ms if first else None):
            if final:
                self._came_back += len(heard)
                self.echoes = self.echoes or self._came_back >= SURE_WORDS
            return ""
        if not (self.echoes and came_back):
            return text
        return caller_words(text, heard, came_back, 1 if now.silent_ms else OWN_WORDS)

    def _is_echo(
        self, heard: tuple[str, ...], spoken: tuple[str, ...], came_back: Set[int], first_ms: int | None
    ) -> bool:
        """Whether an utterance is echo as a whole. first_ms: its onset in the agent's first turn, or None."""
        if len(heard) < SURE_WORDS and not self.echoes and first_ms is None:
            return False
        if len(came_back) >= SHARE * len(heard):
            return True
        if STOPS.intersection(heard):  # "stop" is no misheard "story"
            return False
        if sounds_like(heard, spoken):
            return True
        if self.echoes or first_ms is None or first_ms > FIRST_MS:
            return False
        return len(heard) <= FEW_WORDS


def place(state: SessionState, since_ms: int) -> Place:
    """Return the agent's position. since_ms: since egress reported that of the turn that sounds or has ended."""
    number = max((number for number, turn in state.turns.items() if turn.playing), default=0)
    turn = state.turns.get(number, Turn())
    moved_ms = since_ms if turn.playback in ("playing", "ended") else 0
    return Place(number, turn.heard_ms + moved_ms, moved_ms if turn.playback == "ended" else 0)


def spoken_words(state: SessionState, begin: Place, end: Place) -> tuple[str, ...]:
    """Return the words that the agent spoke between two positions."""
    found: list[str] = []
    for number in range(begin.turn, end.turn + 1):
        turn = state.turns.get(number)
        if turn is None or not turn.playing:
            continue
        segments = [replace(segment, kind="reply") for segment in turn.segments.values()]  # notices come back, too
        last_ms = end.ms if number == end.turn else turn.heard_ms + AHEAD_MS
        before = words(heard_text(segments, begin.ms)) if number == begin.turn and begin.ms > 0 else ()
        found += words(heard_text(segments, last_ms))[len(before) :]
    return tuple(found)


def matched(heard: tuple[str, ...], spoken: tuple[str, ...]) -> frozenset[int]:
    """Return the places in `heard` of words that are among `spoken`."""
    known = frozenset(spoken)
    return frozenset(
        place for place, word in enumerate(heard) if word in known or any(alike(word, other) for other in known)
    )


def sounds_like(heard: tuple[str, ...], spoken: tuple[str, ...]) -> bool:
    """Whether most letters of a few words stand in the same order in `spoken`: "ardent is to" for "our dentists"."""
    if len(heard) > MISHEARD_WORDS:
        return False
    letters = "".join(heard)
    blocks = SequenceMatcher(None, letters, "".join(spoken), autojunk=False).get_matching_blocks()
    return sum(block.size for block in blocks if block.size >= COMMON_LETTERS) >= SHARE * max(1, len(letters))


def alike(word: str, known: str) -> bool:
    """Whether a recognizer may have written `word` for `known`."""
    if (
        word == known or word[0] != known[0] or min(len(word), len(known)) <= 2
    ):  # the first letter saves most of the work
        return word == known
    return SequenceMatcher(None, word, known).ratio() >= ALIKE


def caller_words(text: str, heard: tuple[str, ...], came_back: Set[int], least: int) -> str:
    """Return `text` from the first words of the caller on, "" if there are none: `least` in a row, or a stop word.

    The words before them are the agent's. Every word after them is the caller's, even one that the agent said.
    """
    run = 0
    for place, word in enumerate(heard):
        run = 0 if place in came_back else run + 1
        if run >= least or (run and word in STOPS):
            first = place - run + 1
            if 2 * len([one for one in came_back if one < first]) < first:
                return text  # the caller happens to use a word of the agent
            pieces = text.split()
            return " ".join(pieces[first:] if len(pieces) == len(heard) else heard[first:])  # a hyphen parts words
    return ""
