"""The only place a subject is spelled.

Every id is one token, checked here before it reaches NATS: nats-py lets `*`, `>` and `..` through on publish, and
a session id made of them would be heard by every other session.
"""

import hashlib
import re
import secrets
from typing import NamedTuple

ROOT = "va1"  # the version of everything said on the bus; a new number is a new protocol

INGRESS, STT, LLM, TTS, EGRESS = "ingress", "stt", "llm", "tts", "egress"
STAGES = (INGRESS, STT, LLM, TTS, EGRESS)
CLAIMED = (STT, LLM, TTS, EGRESS)  # what ingress claims for a session, in this order

_ID = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")


class BadId(ValueError):
    """An id that must not become part of a subject."""


def check_id(value: object, what: str = "id") -> str:
    """`value` itself if it is 1 to 64 of `A-Z a-z 0-9 _ -`; raises BadId otherwise."""
    if not isinstance(value, str) or not _ID.match(value):
        shown = repr(value)[:80]
        raise BadId(f"{what} {shown} is not allowed: use 1 to 64 of the characters A-Z a-z 0-9 _ -")
    return value


def new_id() -> str:
    """A random 128-bit id of 32 hexadecimal characters."""
    return f"{secrets.randbits(128):032x}"


def media(worker: str, session: str) -> str:
    """Audio for one session, addressed to the worker that owns it."""
    return f"{ROOT}.media.{check_id(worker, 'worker')}.{check_id(session, 'session')}"


def media_to(worker: str) -> str:
    """All audio for one worker: its single media subscription."""
    return f"{ROOT}.media.{check_id(worker, 'worker')}.*"


def event(agent: str, session: str, tag: str) -> str:
    """Where an event is said; `tag` is `<stage>.<event>`."""
    return f"{ROOT}.event.{check_id(agent, 'agent')}.{check_id(session, 'session')}.{_tag(tag)}"


def ephemeral(agent: str, session: str, tag: str) -> str:
    """Where something is said that is never journaled and may be lost."""
    return f"{ROOT}.ephemeral.{check_id(agent, 'agent')}.{check_id(session, 'session')}.{_tag(tag)}"


def events(agent: str | None = None, session: str | None = None, stage: str | None = None) -> str:
    """A filter over events: of one agent, one session, one stage, or of all."""
    return _filter("event", agent, session, stage)


def ephemerals(agent: str | None = None, session: str | None = None, stage: str | None = None) -> str:
    """The same filter over the ephemeral plane."""
    return _filter("ephemeral", agent, session, stage)


def control(session: str, stage: str, verb: str) -> str:
    """The life of a session: `start` and `close` to the stage that owns it, `unknown` back to ingress.

    `close` to ingress is what a caller asks for who cannot say it on the line.
    """
    return f"{ROOT}.control.{check_id(session, 'session')}.{check_id(stage, 'stage')}.{check_id(verb, 'verb')}"


def controls(session: str, stage: str) -> str:
    """All control messages of one session for one stage."""
    return f"{ROOT}.control.{check_id(session, 'session')}.{check_id(stage, 'stage')}.*"


def unknowns() -> str:
    """What workers say of sessions that they do not own."""
    return f"{ROOT}.control.*.*.unknown"


def hang_ups() -> str:
    """What ingress is told of sessions whose callers want no more."""
    return f"{ROOT}.control.*.{INGRESS}.close"


def orphaned(session: str) -> str:
    """Request to one ingress to end a session whose own ingress is gone."""
    return control(session, INGRESS, "orphaned")


def orphans() -> str:
    """All such requests."""
    return f"{ROOT}.control.*.{INGRESS}.orphaned"


def claim(stage: str) -> str:
    """Requests for a worker of `stage`; the queue group has the same name as the stage."""
    return f"{ROOT}.claim.{check_id(stage, 'stage')}"


def heartbeat(coordinator: str, worker: str) -> str:
    """A worker's sign of life to one coordinator."""
    return f"{ROOT}.heartbeat.{check_id(coordinator, 'coordinator')}.{check_id(worker, 'worker')}"


def heartbeats_to(coordinator: str) -> str:
    """All signs of life for one coordinator."""
    return f"{ROOT}.heartbeat.{check_id(coordinator, 'coordinator')}.*"


def worker(worker: str) -> str:
    """Where one worker answers about itself."""
    return f"{ROOT}.worker.{check_id(worker, 'worker')}"


def config(verb: str) -> str:
    """Requests to the config service: `get`, `list`, `set`."""
    return f"{ROOT}.config.{check_id(verb, 'verb')}"


def breaker_changed() -> str:
    """Return where a worker publishes that the breaker of a provider changed."""
    return f"{ROOT}.breaker.changed"


def room(name: str, verb: str) -> str:
    """Between those who serve a room or want to: `held` asks, `taken` and `finished` tell. Any name makes a token."""
    return room_token(hashlib.sha256(name.encode(errors="surrogatepass")).hexdigest()[:32], verb)


def rooms(name: str) -> str:
    """What the ingress that serves a room hears."""
    return room(name, "any").removesuffix("any") + "*"


def rooms_over() -> str:
    """The end of a call in any room."""
    return f"{ROOT}.room.*.over"


def room_token(token: str, verb: str) -> str:
    """The same, by the token of the room."""
    return f"{ROOT}.room.{check_id(token, 'room')}.{check_id(verb, 'verb')}"


def webhook() -> str:
    """Requests to the ingresses that have the secret of LiveKit: is this webhook true?"""
    return f"{ROOT}.webhook.livekit"


class Said(NamedTuple):
    """What a subject of the event or ephemeral plane says about its message."""

    plane: str
    agent: str
    session: str
    tag: str


def parse(subject: str) -> Said | None:
    """The parts of an event or live subject, None for any other."""
    parts = subject.split(".")
    if len(parts) != 6 or parts[0] != ROOT or parts[1] not in ("event", "ephemeral"):
        return None
    return Said(parts[1], parts[2], parts[3], f"{parts[4]}.{parts[5]}")


def last_token(subject: str) -> str:
    """The last part: the session of a media subject, the worker of a beat, the verb of a control message."""
    return subject.rpartition(".")[2]


def _tag(tag: str) -> str:
    stage, _, event = tag.partition(".")
    return f"{check_id(stage, 'stage')}.{check_id(event, 'event')}"


def _filter(plane: str, agent: str | None, session: str | None, stage: str | None) -> str:
    parts = [
        ROOT,
        plane,
        check_id(agent, "agent") if agent is not None else "*",
        check_id(session, "session") if session is not None else "*",
        check_id(stage, "stage") if stage is not None else "*",
        "*",
    ]
    return ".".join(parts)
