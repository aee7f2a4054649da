"""Answers of workers to ingress, as inputs of the owner machine, and its reasons to give up, for the caller. Pure.

Empty data is the server's 503: no process serves the subject. Every function raises BadMessage for other bytes.
"""

import msgspec

from schemas import control
from schemas.events import FAILED, LOST, CloseReason
from stages.ingress.owner_states import (
    Alive,
    ClaimAccepted,
    ClaimRefused,
    GiveUp,
    OwnerInput,
    Started,
    StartFailed,
    Undelivered,
    Unknown,
)


def of_claim(epoch: int, data: bytes) -> OwnerInput:
    """Read the answer to the claim of `epoch`."""
    if not data:
        return ClaimRefused(epoch, "none is running or has room")
    claimed = control.decode(data, control.Claimed)
    match claimed.refused:
        case None:
            return ClaimAccepted(epoch, claimed.worker, claimed.cold)
        case "provider_missing" | "version" as final:
            return ClaimRefused(epoch, claimed.detail or final, final)
        case reason:
            return ClaimRefused(epoch, claimed.detail or reason)


def of_start(epoch: int, data: bytes) -> OwnerInput:
    """Read the answer to the `start` of `epoch`."""
    if not data:
        return Undelivered(epoch)
    started = control.decode(data, control.Started)
    if started.failed:
        return StartFailed(epoch, started.worker, started.failed, started.reclaim)
    return Started(epoch, started.worker)


def of_ping(session: str, epoch: int, data: bytes) -> OwnerInput:
    """Read a worker's status: does it serve `session` at `epoch`?"""
    if not data:
        return Undelivered(epoch)
    try:
        status = msgspec.json.decode(data, type=control.WorkerStatus)
    except msgspec.MsgspecError as error:
        raise control.BadMessage(f"cannot read WorkerStatus: {error}") from None
    if any((held.session, held.epoch) == (session, epoch) for held in status.sessions):
        return Alive(epoch)
    return Unknown(status.id)


def given_up(stage: str, gave_up: GiveUp) -> tuple[CloseReason, str]:
    """Return the reason to close the session, and the message for the caller."""
    match gave_up.reason:
        case "lost":
            return LOST[stage], f'the call ended: stage "{stage}" has no worker any more: {gave_up.detail}'
        case "failed":
            return FAILED[stage], f'cannot start the call: stage "{stage}" failed: {gave_up.detail}'
        case "no_worker":
            why = f'no worker of stage "{stage}" took it: {gave_up.detail}'
            return "no_worker", f"cannot start the call: {why}. See `antiphon ps`."
        case reason:
            return reason, f'cannot start the call: stage "{stage}" cannot serve it: {gave_up.detail}'
