"""Events of ingress: the life of a session, and what the caller sends beside audio."""

from typing import Any, Literal

import msgspec

from schemas.events.envelope import Event, Owner

CloseReason = Literal[
    "hangup",
    "caller_lost",
    "caller_too_slow",
    "no_caller",
    "room_closed",
    "room_lost",
    "room_unreachable",
    "terminated",
    "shutdown",
    "ingress_lost",
    "no_worker",
    "provider_missing",
    "version",
    "stt_failed",
    "llm_failed",
    "tts_failed",
    "egress_failed",
    "stt_lost",
    "llm_lost",
    "tts_lost",
    "egress_lost",
    "overloaded",
    "failed",
]
FAILED: dict[str, CloseReason] = {
    "stt": "stt_failed",
    "llm": "llm_failed",
    "tts": "tts_failed",
    "egress": "egress_failed",
}  # stage -> the reason when that stage did not start or ended the session
LOST: dict[str, CloseReason] = {
    "stt": "stt_lost",
    "llm": "llm_lost",
    "tts": "tts_lost",
    "egress": "egress_lost",
}  # stage -> the reason when that stage's owner died
MetadataProblem = Literal[
    "missing", "not_json", "not_an_object", "too_long", "wrong_type", "bad_value", "unknown_agent"
]
Applies = Literal["pinned", "next_turn", "now"]


class Origin(msgspec.Struct, frozen=True):
    """Where a session came from: the room, and the fields of the room's metadata. An empty field was not given."""

    room: str = ""
    campaign_id: str = ""
    lead_id: str = ""
    phone_number: str = ""


class SessionOpened(Event, tag="ingress.session_opened", frozen=True):
    """Every stage is claimed and has started; the greeting waits for this event.

    It is the first event of a session, unless the caller spoke before: stt listens from its claim on.

    owners: stage -> its owner. coordinator: the ingress worker. transport: `websocket`, `livekit` or `null`.
    started_us: UTC microseconds of sample 0 of the caller's audio; it turns any sample position into a time.
    config: the agent document of this session, without secrets. version: of the protocol.
    origin: of a session in a room. clock_offset_us: stage -> the owner's clock minus the clock of ingress.
    """

    owners: dict[str, Owner]
    coordinator: str
    transport: str
    started_us: int
    config: dict[str, Any]
    version: int = 1
    origin: Origin | None = None
    clock_offset_us: dict[str, int] = msgspec.field(default_factory=dict)


class MetadataRefused(Event, tag="ingress.metadata_refused", frozen=True):
    """Ingress ignored a part of a room's metadata; the session goes on without that part.

    field: the field that was refused; empty when the whole metadata was.
    """

    reason: MetadataProblem
    field: str = ""


class OwnerChanged(Event, tag="ingress.owner_changed", frozen=True):
    """`worker` owns `stage` from `owner_epoch` on; receivers drop messages of that stage with an older epoch.

    cut: (epoch, seq) of the old owner's last event in the new owner's snapshot, None if the stage had no owner before.
    clock_offset_us: the new owner's clock minus the clock of ingress.
    heard_ms: for egress, how much of `turn` the caller has heard: the new owner goes on from there.
    """

    stage: str
    worker: str
    owner_epoch: int
    cut: tuple[int, int] | None = None
    clock_offset_us: int = 0
    heard_ms: int = 0


class ConfigChanged(Event, tag="ingress.config_changed", frozen=True):
    """The agent document of a live session changed. `config` is the whole new document, without secrets.

    version: of the stored document. applies: from which moment the stages use it.
    """

    version: int
    config: dict[str, Any]
    applies: Applies


class TextReceived(Event, tag="ingress.text_received", frozen=True):
    """The caller typed a text, which is a whole turn. number: counts the texts of a session from 1."""

    text: str
    number: int


class DtmfReceived(Event, tag="ingress.dtmf_received", frozen=True):
    """The caller pressed a key. digit: one of 0-9, `*`, `#`, A-D."""

    digit: str


class SessionClosed(Event, tag="ingress.session_closed", frozen=True):
    """The session is over. It is the last event of a session. detail: the cause, for people."""

    reason: CloseReason
    detail: str = ""
