"""States, inputs and actions of the owner machine (owner_machine.py), which follows one stage of one session.

Times are milliseconds of the monotonic clock of ingress. Pure.
"""

from typing import Literal, get_args

from msgspec import Struct

from schemas.events import Owner

CLAIM_WITHIN_MS = 150  # a worker answers a claim before it connects to a vendor; a frozen one is left behind
CLAIM_SLOWLY_WITHIN_MS = 1_000  # after an answer that came too late: a worker that loads a model is slow, not frozen
CLAIM_PAUSE_MS = 50  # after a refusal: full workers get the time to release a session, NATS is not flooded
CLAIM_FOR_MS = 3_000  # without a live owner the opening fails; a caller waits about as long before saying "hello?"
TAKEOVER_CLAIM_WITHIN_MS = 60  # a frozen worker stays in the queue group: the next claim reaches another one sooner
TAKEOVER_WITHIN_MS = 20_000  # a stage of a live session may have no owner this long; the replay buffer keeps 30 s
OPEN_WITHIN_MS = 20_000  # a provider that was not warm loads its models during the start: up to 15 s on two cores
START_PAUSE_MS = 1_000  # after a start that failed in a live session: the vendor may be down for a moment
PING_WITHIN_MS = 500  # a loaded model or a garbage collection stalls a worker's loop for 200 to 400 ms
OPENING_SILENCE_MS = 450  # four missed heartbeats; with the ping a frozen worker is replaced within the second
COLD_SILENCE_MS = 10_000  # llama.cpp loads a model without releasing the GIL: 2 s, and 5 s on a loaded machine
LIVE_SILENCE_MS = 250  # two missed heartbeats; the server answers the ping for a dead worker at once


class Progress(Struct, frozen=True):
    """How far the opening of the session has come, for one stage.

    begun_ms: the first claim since the stage had no started owner, or the loss of that owner.
    alive_ms: the last sign of an owner's life. opening: `session_opened` is not published yet.
    had_owner: a worker has accepted a claim before.
    """

    begun_ms: int
    alive_ms: int
    opening: bool = True
    had_owner: bool = False


class Claiming(Struct, frozen=True):
    """A claim is on its way to the queue group of the stage, or the next claim waits for its time.

    epoch: of the newest claim. why: the cause of the last failed attempt. waits: the pause before the next claim.
    """

    progress: Progress
    epoch: int
    deadline_ms: int
    waits: bool = False
    why: str = "no worker answered"


class Starting(Struct, frozen=True):
    """A worker accepted the claim at `accepted_ms` and opens its provider. cold: the provider loads its model first."""

    progress: Progress
    owner: Owner
    accepted_ms: int
    cold: bool = False

    @property
    def deadline_ms(self) -> int:
        silence_ms = COLD_SILENCE_MS if self.cold else OPENING_SILENCE_MS
        silent_ms = max(self.accepted_ms, self.progress.alive_ms) + silence_ms
        return min(silent_ms, self.progress.begun_ms + OPEN_WITHIN_MS)


class Owned(Struct, frozen=True):
    """The owner has started and sends heartbeats."""

    progress: Progress
    owner: Owner

    @property
    def deadline_ms(self) -> int:
        return self.progress.alive_ms + (OPENING_SILENCE_MS if self.progress.opening else LIVE_SILENCE_MS)


class Suspect(Struct, frozen=True):
    """The owner's heartbeats stopped, or a message to the owner was undeliverable; a ping decides."""

    before: Starting | Owned
    deadline_ms: int

    @property
    def progress(self) -> Progress:
        return self.before.progress

    @property
    def owner(self) -> Owner:
        return self.before.owner


class Lost(Struct, frozen=True):
    """The stage has no owner and gets no other: the session is about to be closed."""

    deadline_ms: None = None


class Closed(Struct, frozen=True):
    """The session is over."""

    deadline_ms: None = None


State = Claiming | Starting | Owned | Suspect | Lost | Closed
Held = Starting | Owned | Suspect  # states in which a worker owns the stage
STATES: tuple[type[State], ...] = get_args(State)

# --- inputs -----------------------------------------------------------------------------------------------------------


class ClaimAccepted(Struct, frozen=True):
    """`worker` accepted the claim of `epoch`, perhaps long after ingress stopped waiting for the answer.

    cold: the worker's provider has yet to load its model, and may send no heartbeat meanwhile.
    """

    epoch: int
    worker: str
    cold: bool = False


class ClaimRefused(Struct, frozen=True):
    """No worker is in the queue group, or one refused. final: no other worker would accept either, and why."""

    epoch: int
    detail: str
    final: Literal["provider_missing", "version"] | None = None


class Started(Struct, frozen=True):
    """`worker` answered the `start` of `epoch`: the stage is ready."""

    epoch: int
    worker: str


class StartFailed(Struct, frozen=True):
    """`worker` answered the `start` of `epoch` with a failure. reclaim: a new claim may succeed."""

    epoch: int
    worker: str
    detail: str
    reclaim: bool = False


class Heartbeat(Struct, frozen=True):
    """A heartbeat of `worker` named this session."""

    worker: str


class Undelivered(Struct, frozen=True):
    """The server found no subscriber (503) for a message to the owner of `epoch`."""

    epoch: int


class Alive(Struct, frozen=True):
    """The owner answered a ping and serves the session at `epoch`."""

    epoch: int


class Unknown(Struct, frozen=True):
    """`worker` reports that it does not serve the session."""

    worker: str


class Deadline(Struct, frozen=True):
    """`deadline_ms` of the state has come."""


class Opened(Struct, frozen=True):
    """`session_opened` was published: from now on a lost owner is taken over, and its successor has more time."""


class Ended(Struct, frozen=True):
    """The caller hung up or the session failed: every worker of the session is sent `close`."""


OwnerInput = (
    ClaimAccepted
    | ClaimRefused
    | Started
    | StartFailed
    | Heartbeat
    | Undelivered
    | Alive
    | Unknown
    | Deadline
    | Opened
    | Ended
)
INPUTS: tuple[type[OwnerInput], ...] = get_args(OwnerInput)

# --- actions ----------------------------------------------------------------------------------------------------------


class Claim(Struct, frozen=True):
    """Send a claim with `epoch` to the queue group of the stage."""

    epoch: int


class Release(Struct, frozen=True):
    """Close the claim of `epoch`: its worker is not the owner."""

    epoch: int


class OwnerChanged(Struct, frozen=True):
    """Publish `owner_changed`: `owner` replaces an earlier owner."""

    owner: Owner


class Replay(Struct, frozen=True):
    """Send `owner` the caller's audio from the replay buffer (stt only)."""

    owner: Owner


class Start(Struct, frozen=True):
    """Send `start` to `owner`."""

    owner: Owner


class Ping(Struct, frozen=True):
    """Ask the owner's worker whether it still serves the session."""

    owner: Owner


class GiveUp(Struct, frozen=True):
    """Close the session. `lost` is a live session whose stage got no new owner, `failed` a start that failed."""

    reason: Literal["no_worker", "provider_missing", "version", "failed", "lost"]
    detail: str


Action = Claim | Release | OwnerChanged | Replay | Start | Ping | GiveUp
Actions = tuple[Action, ...]
