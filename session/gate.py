"""Drops stale messages: those of an old owner, of a cancelled turn, and repeated ones. The one place that does.

Every message carries the epoch at which its publisher was claimed. A receiver keeps a minimum epoch for each stage,
which `ingress.owner_changed` raises, and the last seq of each. Agent audio and sentences of a cancelled turn are stale
too. Reports about it never are, because history needs them.
"""

from schemas import events
from schemas.events import Event
from schemas.media import Frame

DEAD_EPOCH = "dead_epoch"
REPEATED = "repeated"
STALE_TURN = "stale_turn"

_STALE_BY_TURN = (events.SentenceReady,)


class Gate:
    """The minimum epochs of one receiver of one session."""

    def __init__(self) -> None:
        self._minimums: dict[str, int] = {}
        self._seen: dict[tuple[str, str], tuple[int, int]] = {}
        self._turn = 0  # every turn below is cancelled
        self.gaps = 0  # messages that were lost: seq jumped

    def raise_minimum(self, stage: str, epoch: int) -> None:
        """Drop messages of `stage` with an epoch below `epoch` from now on."""
        self._minimums[stage] = max(epoch, self._minimums.get(stage, 0))

    def cancel_below(self, turn: int) -> None:
        """Drop sentences and audio of turns below `turn` from now on."""
        self._turn = max(turn, self._turn)

    def start_after(self, after: dict[str, tuple[int, int]]) -> None:
        """Drop events up to (epoch, seq) of each stage, which are in the snapshot already."""
        for stage, seen in after.items():
            self._seen[stage, "event"] = max(seen, self._seen.get((stage, "event"), (0, -1)))

    def in_snapshot(self, event: Event, after: dict[str, tuple[int, int]]) -> bool:
        """Return whether `event`, received before the snapshot with `after`, is part of that snapshot."""
        if isinstance(event, events.EPHEMERAL):
            return False
        return (event.epoch, event.seq) <= after.get(events.stage(event), (-1, -1))

    def beyond(self, changed: events.OwnerChanged) -> bool:
        """Return whether an event of the old owner was handled that the snapshot of the new owner lacks."""
        seen = self._seen.get((changed.stage, "event"))
        return seen is not None and changed.cut is not None and changed.cut < seen < (changed.owner_epoch, 0)

    def event(self, event: Event) -> str | None:
        """Return None if the event may be handled, else the reason to drop it. Its owners and turns count at once."""
        stage = events.stage(event)
        plane = "ephemeral" if isinstance(event, events.EPHEMERAL) else "event"
        refused = self._speaker(stage, plane, event.epoch, event.seq)
        if refused:
            return refused
        if self.stale(event):
            return STALE_TURN
        if isinstance(event, events.OwnerChanged):
            self.raise_minimum(event.stage, event.owner_epoch)
        elif isinstance(event, events.SessionOpened):
            for owned, owner in event.owners.items():
                self.raise_minimum(owned, owner.epoch)
        elif isinstance(event, events.TurnStarted):
            self.cancel_below(event.turn)
        elif isinstance(event, events.TurnCancelled):
            self.cancel_below(event.turn + 1)
        return None

    def stale(self, event: Event) -> bool:
        """Return whether the event belongs to a turn that was cancelled since."""
        return isinstance(event, _STALE_BY_TURN) and event.turn < self._turn

    def frame(self, stage: str, frame: Frame) -> str | None:
        """Return None if the frame of `stage` may be used, else the reason to drop it."""
        refused = self._speaker(stage, "media", frame.epoch, frame.seq)
        if refused:
            return refused
        return STALE_TURN if 0 < frame.turn < self._turn else None

    def _speaker(self, stage: str, plane: str, epoch: int, seq: int) -> str | None:
        if epoch < self._minimums.get(stage, 0):
            return DEAD_EPOCH
        last_epoch, last_seq = self._seen.get((stage, plane), (0, -1))
        if epoch < last_epoch:
            return DEAD_EPOCH
        if epoch == last_epoch and seq <= last_seq:
            return REPEATED
        if epoch == last_epoch and seq > last_seq + 1:
            self.gaps += seq - last_seq - 1
        self._seen[stage, plane] = (epoch, seq)
        return None
