"""The envelope of every event, and the structs that several events share."""

from functools import cache
from typing import Literal

import msgspec

ProviderErrorKind = Literal["auth", "quota", "timeout", "connection", "bad_request", "server", "options", "no_audio"]


class Cause(msgspec.Struct, frozen=True):
    """The event that a decision answers: the stage that published it, with that event's epoch and seq."""

    stage: str
    epoch: int
    seq: int


class Word(msgspec.Struct, frozen=True):
    """One word and its place, in milliseconds from the start of its segment or utterance."""

    text: str
    start_ms: int
    end_ms: int


class Owner(msgspec.Struct, frozen=True):
    """The worker that owns a stage of a session, and the epoch at which ingress claimed that worker."""

    worker: str
    epoch: int


class Event(msgspec.Struct, frozen=True, kw_only=True, tag_field="event"):
    """The envelope. A stage fills in its own fields; `StageContext.publish` stamps the fields below.

    turn: the turn that the event belongs to; 0 is none, 1 is the greeting.
    epoch: the epoch at which the publishing worker was claimed.
    seq: dense from 0 per (session, stage, epoch); events and ephemerals are counted apart.
    time: UTC, integer microseconds, by the publishing worker's clock.
    """

    session: str = ""
    agent: str = ""
    turn: int = 0
    epoch: int = 0
    seq: int = 0
    time: int = 0


class ProviderFailed(Event, frozen=True):
    """A provider failed, and the stage went on without its answer.

    message: the cause, without secrets and without speech. retryable: a later request may succeed.
    next: the provider that goes on in its place, "" if none is left.
    """

    provider: str
    kind: ProviderErrorKind
    message: str
    retryable: bool = False
    next: str = ""


class StageFailed(Event, frozen=True):
    """The stage ended the session because of an error; ingress then closes the session.

    reason: `overloaded` when a queue of events was full, else `failed`.
    """

    reason: Literal["overloaded", "failed"]
    detail: str = ""


def tag(event: Event | type[Event]) -> str:
    """Return `<stage>.<event>`, the tail of the event's subject."""
    name = event.__struct_config__.tag
    assert isinstance(name, str)
    return name


def stage(event: Event | type[Event]) -> str:
    """Return the stage that publishes the event."""
    return _stage(event if isinstance(event, type) else type(event))


@cache  # asked several times of every event
def _stage(event: type[Event]) -> str:
    return tag(event).partition(".")[0]
