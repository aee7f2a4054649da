"""One claimed session in a worker: from the claim through opening and life to its end."""

import asyncio
from typing import Literal

from bus.connect import Bus, Subscription
from schemas import control
from stages.runtime.context import StageContext
from stages.runtime.inbox import Inbox, Overloaded
from stages.runtime.providers import ProviderError, ProviderMissing
from stages.runtime.stage import HasIdle, HasPlayhead, Stage
from transports.transport import Refused


class OpeningTimeout(Exception):
    """A stage was not open within its deadline."""


class HostedSession:
    """A claim that a worker has accepted, and what belongs to it."""

    def __init__(self, context: StageContext, providers: tuple[str, ...]) -> None:
        self.context = context
        self.id = context.id
        self.epoch = context.epoch
        self.inbox = Inbox(context)
        self.provider = providers[0] if providers else ""
        self.listening: asyncio.Task[Subscription] | None = None  # subscribes to the session's control messages
        self.subscriptions: list[Subscription] = []  # to events
        self.stage: Stage | None = None  # None until it is open
        self._player: HasPlayhead | None = None  # the stage, if it plays
        self.life: asyncio.Task[None] | None = None  # None until `start`
        self.claimed_s = asyncio.get_running_loop().time()
        self.ending = False  # it is being closed
        self.ended = False  # the worker no longer counts it
        self.moved = False  # another worker was claimed for the session and answers from now on
        self.waiting: list[str] = []  # reply subjects of each `start` that has no answer yet

    @property
    def playhead(self) -> control.Playhead | None:
        """Return how far the caller has heard the turn; None for a stage that does not play, or is not open."""
        return self._player.playhead if self._player else None

    @property
    def idle(self) -> bool:
        """Whether another worker may take the session over unnoticed now."""
        return self.stage is None or not isinstance(self.stage, HasIdle) or self.stage.idle

    def move(self) -> None:
        """Publish nothing any more and answer nothing: another worker owns the session."""
        self.moved = True
        self.context.silence()

    def opened(self, stage: Stage) -> None:
        """Keep the open stage. Asking at each heartbeat whether it plays took a tenth of a worker's processor time."""
        self.stage = stage
        self._player = stage if isinstance(stage, HasPlayhead) else None

    def take_over(self, earlier: "HostedSession") -> None:
        """Answer the control messages of an earlier claim of the session from now on, by its subscription."""
        self.listening, earlier.listening = earlier.listening, None

    def answer_starts(self, bus: Bus, started: control.Started) -> None:
        """Answer each `start` that waits."""
        waiting, self.waiting = self.waiting, []
        for reply in waiting:
            bus.publish(reply, control.encode(started))


def failure(error: BaseException) -> tuple[Literal["overloaded", "failed"], str]:
    """Return the reason and the detail of `StageFailed`; the detail holds no secret and no speech."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, Overloaded):
        return "overloaded", str(error)
    if isinstance(error, ProviderError | ProviderMissing | Refused | OpeningTimeout):
        return "failed", str(error)
    return "failed", f"{type(error).__name__} in this stage: see its log"
