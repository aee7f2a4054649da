"""The life of a session between ingress and the workers it claims: requests, answers, beats. msgpack maps."""

from typing import Any, Literal

import msgspec

VERSION = 1

Refusal = Literal["full", "draining", "provider_missing", "version", "unknown_agent", "no_worker", "failed"]


class ClaimStage(msgspec.Struct, frozen=True):
    """ingress -> queue group of a stage: will you own this session? `provider` is empty for egress."""

    session: str
    epoch: int
    agent: str
    coordinator: str
    transport: str
    provider: str = ""
    version: int = VERSION


class Claimed(msgspec.Struct, frozen=True):
    """A worker's answer. refused is None when it took the session and has already subscribed."""

    worker: str
    refused: Refusal | None = None
    detail: str = ""


class Pattern(msgspec.Struct, frozen=True):
    """What the caller of the null transport says: `turns` times `speech_ms` of sound, one each `every_ms`.

    start_ms, linger_ms: of silence before the first and after the last, so that its answer is heard to the end.
    """

    speech_ms: int = 500
    every_ms: int = 1_100
    turns: int = 1
    start_ms: int = 500
    linger_ms: int = 3_000


class ClaimLine(msgspec.Struct, frozen=True):
    """A local caller -> queue group `ingress`: where can I call this agent?

    transport `null` starts a call at once whose caller is made in ingress by `pattern` and hears nothing. room: one for
    a single caller instead of a line; the session begins when somebody enters it.
    """

    agent: str
    transport: Literal["websocket", "null"] = "websocket"
    pattern: Pattern = Pattern()
    version: int = VERSION
    room: bool = False


class Line(msgspec.Struct, frozen=True):
    """Where to connect, and the session that this will be.

    room, token: instead of the session; `SessionOpened.origin` bears the same room. The token lets one caller in, soon.
    """

    session: str = ""
    url: str = ""
    refused: Refusal | None = None
    detail: str = ""
    room: str = ""
    token: str = ""


class Door(msgspec.Struct, frozen=True):
    """Where egress meets a caller whose line does not end in ingress. token: for this one room, for an hour."""

    url: str
    token: str


class Start(msgspec.Struct, frozen=True):
    """ingress -> the claimed worker, which answers `Started` once its provider is ready. No secret in it.

    config: the agent document. snapshot: msgpack of session.state.CallState.
    after: stage -> (epoch, seq) already in it.
    replay_from: for stt, the sample of the caller's line that the media which follows begins with.
    door: for egress alone, and for transport `livekit` alone.
    """

    session: str
    epoch: int
    config: dict[str, Any]
    snapshot: bytes = b""
    after: dict[str, tuple[int, int]] = {}
    replay_from: int = 0
    door: Door | None = None


class Started(msgspec.Struct, frozen=True):
    """The worker is ready for media and facts, or says why not."""

    worker: str
    failed: str = ""


class SaidBefore(msgspec.Struct, frozen=True):
    """egress -> ingress: what the caller's client recorded before anybody listened.

    pcm: PCM16 mono at 16 kHz, at most 10 s; empty where the recording could not be read.
    """

    session: str
    epoch: int
    pcm: bytes


class Close(msgspec.Struct, frozen=True):
    """ingress -> worker: flush within 2 s, answer `Closed`, forget the session. gateway -> ingress: end it."""

    session: str
    reason: str


class Closed(msgspec.Struct, frozen=True):
    """The worker has flushed; ingress: has begun to close."""

    worker: str


class Unknown(msgspec.Struct, frozen=True):
    """worker -> ingress: media or control came for a session that I do not own."""

    worker: str
    session: str


class Beat(msgspec.Struct, frozen=True):
    """A worker's sign of life to one coordinator: every session it holds for it.

    positions: session -> ms of the current turn heard (egress only).
    """

    worker: str
    stage: str
    sessions: list[str]
    draining: bool = False
    positions: dict[str, int] = {}


class RoomHeld(msgspec.Struct, frozen=True):
    """An ingress serves this room already."""

    session: str


class RoomTaken(msgspec.Struct, frozen=True):
    """An ingress begins to serve this room; another that is about to steps back."""

    session: str


class RoomFinished(msgspec.Struct, frozen=True):
    """The server has closed the room. id: its own, so that a later room of the same name goes on."""

    id: str


class Webhook(msgspec.Struct, frozen=True):
    """gateway -> an ingress with LiveKit's secret: what was posted, and the `Authorization` that came with it."""

    body: str
    token: str


class WebhookChecked(msgspec.Struct, frozen=True):
    """Whether it is LiveKit's, and what it says. fresh: not heard before (it says everything at least once)."""

    genuine: bool
    event: str = ""
    room: str = ""
    fresh: bool = False


class WorkerSession(msgspec.Struct, frozen=True):
    """One session as its worker sees it. `owners` is filled by ingress only: stage -> worker id."""

    session: str
    agent: str
    epoch: int
    age_s: float
    owners: dict[str, str] = {}


class WorkerStatus(msgspec.Struct, frozen=True):
    """What a worker answers about itself. counters: what it dropped or refused since it started, by reason."""

    id: str
    stage: str
    pid: int
    host: str
    capacity: int
    state: Literal["ready", "full", "draining"]
    sessions: list[WorkerSession]
    counters: dict[str, int] = {}
    url: str = ""  # ingress: where callers connect
