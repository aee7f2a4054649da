"""The ownership of one stage of one session as a table: claim, start, watch, lose, claim again.

`step(state, event, now_ms, epoch)` is the whole machine. `epoch` is the next free epoch of the session; a step that
claims takes it. Every pair of a state and an input stands in TRANSITIONS or in IGNORED; docs/owners.md shows the table.
"""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

from msgspec.structs import replace

from schemas.events import Owner
from stages.ingress.owner_states import (
    CLAIM_FOR_MS,
    CLAIM_PAUSE_MS,
    CLAIM_SLOWLY_WITHIN_MS,
    CLAIM_WITHIN_MS,
    OPEN_WITHIN_MS,
    PING_WITHIN_MS,
    START_PAUSE_MS,
    STATES,
    TAKEOVER_CLAIM_WITHIN_MS,
    TAKEOVER_WITHIN_MS,
    Actions,
    Alive,
    Claim,
    ClaimAccepted,
    Claiming,
    ClaimRefused,
    Closed,
    Deadline,
    Ended,
    GiveUp,
    Heartbeat,
    Held,
    Lost,
    Opened,
    Owned,
    OwnerChanged,
    OwnerInput,
    Ping,
    Progress,
    Release,
    Replay,
    Start,
    Started,
    StartFailed,
    Starting,
    State,
    Suspect,
    Undelivered,
    Unknown,
)

Step = tuple[State, Actions]


def step(state: State, event: OwnerInput, now_ms: int, epoch: int) -> Step:
    """Return the state after `event` and the actions to perform. A pair outside the table changes nothing."""
    row = TRANSITIONS.get((type(state), type(event)))
    return row.do(state, event, now_ms, epoch) if row else (state, ())


# --- claiming ---------------------------------------------------------------------------------------------------------


def begin(now_ms: int, epoch: int) -> Step:
    """The first claim of a stage."""
    return _claim(Progress(now_ms, now_ms), "", now_ms, epoch)


def accept(state: Claiming, accepted: ClaimAccepted, now_ms: int, epoch: int) -> Step:
    """Make the worker the owner if it answers the newest claim.

    An older claim is released: the worker may have accepted a newer one meanwhile. But its answer proves that workers
    are alive and slow, so the newest claim gets more time. Otherwise each answer of a slow worker would be too late.
    """
    if accepted.epoch != state.epoch or state.waits:
        deadline_ms = state.deadline_ms if state.waits else now_ms + CLAIM_SLOWLY_WITHIN_MS
        patient = replace(state, progress=_alive(state.progress, now_ms), deadline_ms=deadline_ms)
        return release(patient, accepted, now_ms, epoch)
    owner = Owner(accepted.worker, accepted.epoch)
    changed = (OwnerChanged(owner),) if state.progress.had_owner else ()
    progress = replace(state.progress, had_owner=True)
    return Starting(progress, owner, now_ms, accepted.cold), (*changed, Replay(owner), Start(owner))


def try_again(state: Claiming, refused: ClaimRefused, now_ms: int, _epoch: int) -> Step:
    """Pause before the next claim, unless no worker at all would accept: a live session waits for one that does."""
    if refused.epoch != state.epoch or state.waits:
        return state, ()
    if refused.final and state.progress.opening:
        return Lost(), (GiveUp(refused.final, refused.detail),)
    return replace(state, waits=True, deadline_ms=now_ms + CLAIM_PAUSE_MS, why=refused.detail), ()


def claim_again(state: Claiming, _: Deadline, now_ms: int, epoch: int) -> Step:
    """Send the next claim after a pause or an unanswered claim, until the time without an owner is over."""
    if now_ms < state.deadline_ms:
        return state, ()
    why = state.why if state.waits else "none answered in time"
    return _claim(state.progress, why, now_ms, epoch)


# --- an owner ---------------------------------------------------------------------------------------------------------


def become_owned(state: Starting | Suspect, started: Started, now_ms: int, _epoch: int) -> Step:
    """Note that the owner has started."""
    if not _from_owner(state, started.epoch, started.worker):
        return state, ()
    return Owned(_alive(state.progress, now_ms), state.owner), ()


def fail_start(state: Starting | Suspect, failed: StartFailed, now_ms: int, _epoch: int) -> Step:
    """Claim again if the worker asks for that, and in a live session; else every worker would fail alike."""
    if not _from_owner(state, failed.epoch, failed.worker):
        return state, ()
    if failed.reclaim:
        return _lose(state, failed.detail, now_ms)
    if not state.progress.opening:
        return _lose(state, failed.detail, now_ms, START_PAUSE_MS)
    return Lost(), (GiveUp("failed", failed.detail),)


def note_life(state: Held, heartbeat: Heartbeat, now_ms: int, _epoch: int) -> Step:
    """Clear the suspicion: the owner's heartbeat names the session."""
    if heartbeat.worker != state.owner.worker:
        return state, ()
    before = state.before if isinstance(state, Suspect) else state
    return replace(before, progress=_alive(state.progress, now_ms)), ()


def clear(state: Suspect, alive: Alive, now_ms: int, epoch: int) -> Step:
    """Clear the suspicion: the owner answered the ping."""
    if alive.epoch != state.owner.epoch:
        return state, ()
    return note_life(state, Heartbeat(state.owner.worker), now_ms, epoch)


def suspect(state: Starting | Owned, _: Deadline, now_ms: int, _epoch: int) -> Step:
    """Ping an owner whose heartbeats stopped; end an opening that takes too long."""
    if now_ms < state.deadline_ms:
        return state, ()
    if isinstance(state, Starting) and now_ms >= state.progress.begun_ms + OPEN_WITHIN_MS:
        return _too_late(state)
    return _suspect(state, now_ms)


def doubt(state: Owned, undelivered: Undelivered, now_ms: int, _epoch: int) -> Step:
    """Ping an owner that a message did not reach: the worker may be connecting to NATS again."""
    return _suspect(state, now_ms) if undelivered.epoch == state.owner.epoch else (state, ())


def lose_undelivered(state: Starting | Suspect, undelivered: Undelivered, now_ms: int, _epoch: int) -> Step:
    """Lose an owner that neither `start` nor a ping reaches."""
    if undelivered.epoch != state.owner.epoch:
        return state, ()
    return _lose(state, "its worker is gone", now_ms)


def lose_unknown(state: Held, unknown: Unknown, now_ms: int, _epoch: int) -> Step:
    """Lose an owner that no longer serves the session."""
    if unknown.worker != state.owner.worker:
        return state, ()
    return _lose(state, "its worker does not serve the session any more", now_ms)


def lose_silent(state: Suspect, _: Deadline, now_ms: int, _epoch: int) -> Step:
    """Lose an owner that did not answer the ping."""
    if now_ms < state.deadline_ms:
        return state, ()
    return _lose(state, "its worker fell silent", now_ms)


def open_session(state: Owned | Suspect, _: Opened, now_ms: int, _epoch: int) -> Step:
    """Note that the session is open: from now on a lost owner is taken over."""
    if isinstance(state, Suspect):
        before = replace(state.before, progress=replace(state.progress, opening=False))
        return replace(state, before=before), ()
    return replace(state, progress=replace(state.progress, opening=False)), ()


# --- in every state ---------------------------------------------------------------------------------------------------


def release(state: State, accepted: ClaimAccepted, _now_ms: int, _epoch: int) -> Step:
    """Close a claim that was accepted too late; the owner's own acceptance may come twice."""
    if isinstance(state, Held) and accepted.epoch == state.owner.epoch:
        return state, ()
    return state, (Release(accepted.epoch),)


def end(_state: State, _: Ended, _now_ms: int, _epoch: int) -> Step:
    """Stop claiming and watching."""
    return Closed(), ()


# --- the table --------------------------------------------------------------------------------------------------------


class Row(NamedTuple):
    """do: the transition. to: every state that the transition can lead to, beside the one that it starts from."""

    do: Callable[[Any, Any, int, int], Step]
    to: tuple[type[State], ...]


TRANSITIONS: dict[tuple[type[State], type[OwnerInput]], Row] = {
    (Claiming, ClaimAccepted): Row(accept, (Starting,)),
    (Claiming, ClaimRefused): Row(try_again, (Lost,)),
    (Claiming, Deadline): Row(claim_again, (Lost,)),
    #
    (Starting, Started): Row(become_owned, (Owned,)),
    (Starting, StartFailed): Row(fail_start, (Claiming, Lost)),
    (Starting, Heartbeat): Row(note_life, ()),
    (Starting, Undelivered): Row(lose_undelivered, (Claiming,)),
    (Starting, Unknown): Row(lose_unknown, (Claiming,)),
    (Starting, Deadline): Row(suspect, (Suspect, Lost)),
    #
    (Owned, Heartbeat): Row(note_life, ()),
    (Owned, Undelivered): Row(doubt, (Suspect,)),
    (Owned, Unknown): Row(lose_unknown, (Claiming,)),
    (Owned, Deadline): Row(suspect, (Suspect,)),
    (Owned, Opened): Row(open_session, ()),
    #
    (Suspect, Started): Row(become_owned, (Owned,)),
    (Suspect, StartFailed): Row(fail_start, (Claiming, Lost)),
    (Suspect, Heartbeat): Row(note_life, (Starting, Owned)),
    (Suspect, Undelivered): Row(lose_undelivered, (Claiming,)),
    (Suspect, Alive): Row(clear, (Starting, Owned)),
    (Suspect, Unknown): Row(lose_unknown, (Claiming,)),
    (Suspect, Deadline): Row(lose_silent, (Claiming,)),
    (Suspect, Opened): Row(open_session, ()),
    #
    **{(state, ClaimAccepted): Row(release, ()) for state in STATES if state is not Claiming},
    **{(state, Ended): Row(end, (Closed,)) for state in STATES if state is not Closed},
}

IGNORED: frozenset[tuple[type[State], type[OwnerInput]]] = frozenset(
    {
        # An answer to a start, a heartbeat or a ping of an owner that was replaced meanwhile.
        *((Claiming, event) for event in (Started, StartFailed, Heartbeat, Undelivered, Alive, Unknown)),
        # A refusal of a claim that was sent again, and accepted then.
        *((state, ClaimRefused) for state in (Starting, Owned, Suspect)),
        # A ping whose answer came after a heartbeat.
        (Starting, Alive),
        (Owned, Alive),
        # A start is answered once; an answer that repeats itself says nothing new.
        (Owned, Started),
        (Owned, StartFailed),
        # A session opens when every stage has an owner that started.
        (Claiming, Opened),
        (Starting, Opened),
        # The session ends: only a late claim still matters, because its worker must be released.
        *(
            (state, event)
            for state in (Lost, Closed)
            for event in (ClaimRefused, Started, StartFailed, Heartbeat, Undelivered, Alive, Unknown, Deadline, Opened)
        ),
        (Closed, Ended),
    }
)


# --- what the transitions are made of ---------------------------------------------------------------------------------


def _claim(progress: Progress, why: str, now_ms: int, epoch: int) -> Step:
    """Send the next claim. Its epoch is new: a worker that answers an earlier claim late holds a dead epoch."""
    if not progress.opening:
        until_ms, within_ms = progress.begun_ms + TAKEOVER_WITHIN_MS, TAKEOVER_CLAIM_WITHIN_MS
    else:
        until_ms = min(progress.alive_ms + CLAIM_FOR_MS, progress.begun_ms + OPEN_WITHIN_MS)
        within_ms = CLAIM_WITHIN_MS
    if now_ms >= until_ms:
        return Lost(), (GiveUp("no_worker" if progress.opening else "lost", why),)
    return Claiming(progress, epoch, min(now_ms + within_ms, until_ms), why=why), (Claim(epoch),)


def _lose(state: Held, why: str, now_ms: int, pause_ms: int = CLAIM_PAUSE_MS) -> Step:
    """Claim another worker after a pause; at once if the owner of a live session had started."""
    progress = state.progress
    if isinstance(state, Owned) or (isinstance(state, Suspect) and isinstance(state.before, Owned)):
        progress = replace(progress, begun_ms=now_ms)  # a caller may take minutes to enter the room
        pause_ms = pause_ms if progress.opening else 0
    claiming = Claiming(progress, state.owner.epoch, now_ms + pause_ms, waits=True, why=why)
    return claiming, (Release(state.owner.epoch),)


def _suspect(state: Starting | Owned, now_ms: int) -> Step:
    return Suspect(state, now_ms + PING_WITHIN_MS), (Ping(state.owner),)


def _too_late(state: Starting) -> Step:
    reason: Literal["failed", "lost"] = "failed" if state.progress.opening else "lost"
    return Lost(), (GiveUp(reason, f"it did not start within {OPEN_WITHIN_MS // 1000} s"),)


def _alive(progress: Progress, now_ms: int) -> Progress:
    return replace(progress, alive_ms=now_ms)


def _from_owner(state: Starting | Suspect, epoch: int, worker: str) -> bool:
    """Whether an answer comes from the owner: workers whose claims are older answer the same `start`."""
    return (epoch, worker) == (state.owner.epoch, state.owner.worker)
