"""Events of egress: what the caller hears. Positions are milliseconds of the turn's audio."""

from typing import Literal

from schemas.events.envelope import Event, StageFailed


class PlaybackStarted(Event, tag="egress.playback_started", frozen=True):
    """Egress sent the first sample of the turn to the caller."""


class Paused(Event, tag="egress.paused", frozen=True):
    """Egress stopped the agent at once because utterance `utterance` began; the position is final.

    segment: the one that was playing. heard_ms: how much of the whole turn the caller has heard.
    Egress also publishes this when nothing plays yet (heard_ms 0): the hold is set all the same.
    """

    segment: int
    heard_ms: int
    utterance: int


class Resumed(Event, tag="egress.resumed", frozen=True):
    """The hold ended and playback goes on from heard_ms. Before the first sample, wait for `playback_started`.

    reason: llm `decided`, or `timeout`: no decision came.
    """

    heard_ms: int
    utterance: int
    reason: Literal["decided", "timeout"] = "decided"


class PlaybackEnded(Event, tag="egress.playback_ended", frozen=True):
    """The caller has heard the last of the turn, or all that will be played of a cancelled turn."""

    heard_ms: int
    interrupted: bool = False


class EgressStageFailed(StageFailed, tag="egress.stage_failed", frozen=True):
    """The egress stage ended the session because of an error."""
