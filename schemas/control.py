"""Control messages: the life of a session between ingress and the workers it claims. msgpack maps."""

from typing import Any, Literal, TypeVar

import msgspec

from schemas.events import CloseReason

VERSION = 1

Refusal = Literal[
    "full",
    "draining",
    "superseded",
    "provider_missing",
    "version",
    "unknown_agent",
    "agent_unavailable",
    "no_worker",
    "failed",
]


class ClaimStage(msgspec.Struct, frozen=True):
    """ingress -> queue group of a stage: will you own this session?

    providers: the chain that the agent names, first choice first; empty for egress.
    """

    session: str
    epoch: int
    agent: str
    coordinator: str
    transport: str
    providers: tuple[str, ...] = ()
    version: int = VERSION


class Claimed(msgspec.Struct, frozen=True):
    """A worker's answer to a claim. refused: None when it took the session and has already subscribed.

    time: the worker's clock as it answers, UTC microseconds; 0 if unknown. Ingress derives the clock offset from it.
    cold: the provider has yet to load its model; meanwhile the worker may send no heartbeat for seconds.
    """

    worker: str
    refused: Refusal | None = None
    detail: str = ""
    time: int = 0
    cold: bool = False


class ClaimSession(msgspec.Struct, frozen=True):
    """A local caller -> queue group `ingress`: where can I call this agent?

    transport: `null` starts a session at once whose caller is simulated in ingress; `options` describe that caller.
    room: offer a LiveKit room for a single caller; the session begins when that caller enters the room.
    """

    agent: str
    transport: Literal["websocket", "null"] = "websocket"
    options: dict[str, int] = {}
    version: int = VERSION
    room: bool = False


class SessionOffer(msgspec.Struct, frozen=True):
    """ingress -> caller: where to connect, and the id of the session.

    room, token: instead of the session, for a LiveKit room; `SessionOpened.origin` has the same room. The token admits
    one caller, for a short time.
    """

    session: str = ""
    url: str = ""
    refused: Refusal | None = None
    detail: str = ""
    room: str = ""
    token: str = ""


class RoomAccess(msgspec.Struct, frozen=True):
    """How egress enters the caller's room. token: for this one room, for an hour."""

    url: str
    token: str


class Playhead(msgspec.Struct, frozen=True):
    """How far the caller has heard the current turn. segment: the one heard last. heard_ms: of the whole turn."""

    turn: int
    segment: int
    heard_ms: int


class Start(msgspec.Struct, frozen=True):
    """ingress -> the claimed worker, which answers `Started` once its provider is ready. It holds no secret.

    config: the agent document. snapshot: msgpack of session.state.SessionState.
    after: stage -> (epoch, seq) of its last event in the snapshot.
    replay_from: for stt, the first sample of the caller's audio that ingress sends next.
    room: for egress in a session of transport `livekit`.
    playhead: for egress, the last one that ingress received from an owner of egress; None if playback has not begun.
    """

    session: str
    epoch: int
    config: dict[str, Any]
    snapshot: bytes = b""
    after: dict[str, tuple[int, int]] = {}
    replay_from: int = 0
    room: RoomAccess | None = None
    playhead: Playhead | None = None


class Started(msgspec.Struct, frozen=True):
    """The worker is ready for media and events. failed: why it is not; empty if it is.

    reclaim: a new claim may succeed, because this claim was superseded, forgotten or closed.
    """

    worker: str
    failed: str = ""
    reclaim: bool = False


class Release(msgspec.Struct, frozen=True):
    """ingress -> worker: forget a claim of this epoch or an older one, because another worker owns the stage.

    There is no answer. A worker that has accepted a newer claim of the session keeps it.
    """

    session: str
    epoch: int


class PreConnectAudio(msgspec.Struct, frozen=True):
    """egress -> ingress: the audio that the caller's client recorded before the agent entered the room.

    pcm: PCM16 mono at 16 kHz, at most 10 s; empty where the recording could not be read.
    """

    session: str
    epoch: int
    pcm: bytes


class Close(msgspec.Struct, frozen=True):
    """ingress -> worker: flush within 2 s, answer `Closed`, forget the session. gateway -> ingress: end the session."""

    session: str
    reason: CloseReason


class Closed(msgspec.Struct, frozen=True):
    """A worker has flushed the session, or ingress has begun to close it."""

    worker: str


class Configure(msgspec.Struct, frozen=True):
    """operator or config service -> ingress: use this agent document in a live session.

    Ingress answers `Configured` and publishes `ingress.config_changed`. version: of the stored document.
    """

    session: str
    version: int
    config: dict[str, Any]
    applies: Literal["pinned", "next_turn", "now"] = "next_turn"


class Configured(msgspec.Struct, frozen=True):
    """ingress -> sender of `Configure`. refused: why the document is not used; empty if it is."""

    worker: str
    refused: str = ""


class Unknown(msgspec.Struct, frozen=True):
    """worker -> ingress: media or control came for a session that this worker does not own."""

    worker: str
    session: str


class Orphaned(msgspec.Struct, frozen=True):
    """worker -> queue group `ingress`: the coordinator of this session is gone; publish the session's end.

    The ingress that takes this up answers `Closed`.
    """

    session: str
    agent: str
    coordinator: str


class Heartbeat(msgspec.Struct, frozen=True):
    """A worker's liveness message to one coordinator, every 100 ms, with every session it owns for that coordinator.

    playheads: session -> playhead (egress only). time: the worker's clock, UTC microseconds.
    """

    worker: str
    stage: str
    sessions: list[str]
    playheads: dict[str, Playhead] = {}
    time: int = 0


class RoomHeld(msgspec.Struct, frozen=True):
    """Another ingress serves this room already."""

    session: str


class RoomTaken(msgspec.Struct, frozen=True):
    """An ingress begins to serve this room; another that is about to do so steps back."""

    session: str


class RoomFinished(msgspec.Struct, frozen=True):
    """LiveKit has closed the room. id: LiveKit's own, so that a later room of the same name goes on."""

    id: str


class RoomSessionOver(msgspec.Struct, frozen=True):
    """ingress -> every ingress: a session in a room ended in good order.

    id: LiveKit's id of the room. people: LiveKit's ids of the people who are still in the room: they get
    no other agent.
    """

    id: str
    people: tuple[str, ...] = ()


class Webhook(msgspec.Struct, frozen=True):
    """gateway -> an ingress with LiveKit's secret: the body that was posted, and its `Authorization` header."""

    body: str
    token: str


class WebhookChecked(msgspec.Struct, frozen=True):
    """Whether LiveKit signed the webhook, and its content. fresh: not received before (LiveKit repeats webhooks)."""

    genuine: bool
    event: str = ""
    room: str = ""
    fresh: bool = False


class WorkerSession(msgspec.Struct, frozen=True):
    """One session as its worker sees it. owners: stage -> worker id, filled by ingress only."""

    session: str
    agent: str
    epoch: int
    age_s: float
    owners: dict[str, str] = {}


class WorkerStatus(msgspec.Struct, frozen=True):
    """A worker's answer about itself.

    counters: what the worker dropped or refused since it started, by reason. url: of ingress, where callers connect.
    """

    id: str
    stage: str
    pid: int
    host: str
    capacity: int
    state: Literal["ready", "full", "draining"]
    sessions: list[WorkerSession]
    counters: dict[str, int] = {}
    url: str = ""


T = TypeVar("T")

_encoder = msgspec.msgpack.Encoder()


class BadMessage(ValueError):
    """Raised for bytes that are not the expected control message; the text names the message and the field."""


def encode(message: msgspec.Struct) -> bytes:
    """Return the msgpack map of a control message."""
    return _encoder.encode(message)


def decode(data: bytes, kind: type[T]) -> T:
    """Return the control message of type `kind` in `data`. Ignores unknown fields. Raises BadMessage, nothing else."""
    try:
        return msgspec.msgpack.decode(data, type=kind)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise BadMessage(f"cannot read {kind.__name__}: {error}") from None
