"""A caller with a player, and the pacing of their agent, in a time that only passes when told."""

import math
from collections import deque
from collections.abc import Callable
from typing import NamedTuple, TypeVar

import numpy as np

from schemas.audio import AGENT_HZ, FRAME_MS, SAMPLE_BYTES
from schemas.events import Event
from schemas.media import Flag
from stages.egress.pacing import Action, Pacing
from stages.egress.reply import Piece

TRANSIT_MS = 3.0

F = TypeVar("F", bound=Event)


class Heard(NamedTuple):
    """20 ms in the caller's ear. arrived, began: milliseconds."""

    arrived: float
    began: float
    piece: Piece


class Room:
    """The player is the reference: it knows arrivals only. It plays back to back, from the first frame after silence;
    on a clear it finishes the frame it is in and drops the rest."""

    def __init__(self, jitter: Callable[[], float] = lambda: 0.0) -> None:
        self.pacing = Pacing()
        self.now = 0
        self.events: list[Event] = []
        self.sent: dict[int, bytes] = {}  # turn -> what tts sent of it
        self._jitter = jitter
        self._arrivals: list[tuple[float, Piece | None]] = []
        self._ticked = 0
        self._sample = 0

    def audio(self, ms: float, turn: int = 2, segment: int = 0, flags: int = 0) -> None:
        """tts sends this much; no two samples of a turn's chunk are alike."""
        samples = int(ms * AGENT_HZ / 1000)
        pcm = (np.arange(self._sample, self._sample + samples) & 0xFFFF).astype("<u2").tobytes()
        self._sample += samples
        if self.pacing.add_audio(pcm, turn, segment, flags):
            self.sent[turn] = self.sent.get(turn, b"") + pcm
        self.advance()

    def answer(self, ms: float, turn: int = 2, answers: int = 0) -> None:
        """A turn begins and all of its audio comes."""
        self.pacing.start(turn, answers)
        self.advance()
        for _ in range(math.ceil(ms / 100) - 1):
            self.audio(100, turn)
        self.audio(ms - 100 * (math.ceil(ms / 100) - 1), turn, flags=Flag.LAST_OF_SEGMENT | Flag.LAST_OF_TURN)

    def hold(self, utterance: int) -> None:
        self.pacing.hold(utterance)
        self.advance()

    def fell_silent(self, utterance: int) -> None:
        self.pacing.fell_silent(utterance, self.now)
        self.advance()

    def resume(self, utterance: int) -> None:
        self.pacing.resume(utterance)
        self.advance()

    def start(self, turn: int, answers: int) -> None:
        self.pacing.start(turn, answers)
        self.advance()

    def cancel(self, turn: int) -> None:
        self.pacing.cancel(turn)
        self.advance()

    def advance(self) -> None:
        self._do(self.pacing.advance(self.now))

    def close(self) -> None:
        self._do(self.pacing.close(self.now))

    def run(self, ms: int) -> None:
        """Time passes, with a tick every 20 ms while something plays, and the wake-ups that are asked for."""
        until = self.now + ms
        while self.now < until:
            wake = self.pacing.wake_ms(self.now)
            tick = max(self._ticked + FRAME_MS, self.now + 1) if self.pacing.playing else math.inf
            due = min(tick, math.inf if wake is None else max(math.ceil(wake), self.now + 1))
            self.now = int(min(due, until))
            if self.now == tick:
                self._ticked = self.now
            if self.now == due:
                self.advance()

    def published(self, what: type[F]) -> list[F]:
        return [event for event in self.events if isinstance(event, what)]

    def heard(self) -> list[Heard]:
        """All that the caller has heard and will hear of what was sent."""
        heard: list[Heard] = []
        queue: deque[tuple[float, Piece]] = deque()
        free_at = 0.0
        for at, piece in [*self._arrivals, (math.inf, None)]:
            while queue and max(free_at, queue[0][0]) < at:
                arrived, playing = queue.popleft()
                began = max(free_at, arrived)
                free_at = began + FRAME_MS
                heard.append(Heard(arrived, began, playing))
            if piece is None:
                queue.clear()
            else:
                queue.append((at, piece))
        return heard

    def words(self, turn: int = 2) -> bytes:
        """The samples of a turn that the caller heard, without padding."""
        return b"".join(p.pcm[: p.samples * SAMPLE_BYTES] for _, _, p in self.heard() if p.turn == turn)

    def _do(self, actions: list[Action]) -> None:
        for action in actions:
            if isinstance(action, Event):
                self.events.append(action)
                continue
            at = self.now + TRANSIT_MS + self._jitter()
            if self._arrivals:
                at = max(at, self._arrivals[-1][0])  # one connection keeps its order
            self._arrivals.append((at, action if isinstance(action, Piece) else None))
