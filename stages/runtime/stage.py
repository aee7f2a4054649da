"""The typed joint between a stage and its worker: what a stage class and its `stage.py` offer.

`stages/<stage>/stage.py` is a `StageModule`: it names the class in `STAGE` and opens it once for each session.
"""

import inspect
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import ClassVar, Protocol, TypeVar, runtime_checkable

from schemas import events
from schemas.control import Playhead
from schemas.events import Event
from schemas.media import Frame
from stages.runtime.context import StageContext
from stages.runtime.providers import Provider, Providers

Handler = TypeVar("Handler", bound=Callable[..., object])
P = TypeVar("P", bound=Provider)
Shared = TypeVar("Shared")


class Stage(Protocol):
    """The logic of one session in one stage. Its handlers are the methods that `handles` marks.

    publishes: the events of this stage. Each may also be published by the stage's providers, through the stage.
    """

    publishes: ClassVar[tuple[type[Event], ...]]


@runtime_checkable
class HandlesAudio(Protocol):
    """A stage that receives audio."""

    def on_audio(self, frame: Frame) -> None:
        """Handle one frame on the event loop, without blocking. An exception ends the session."""


@runtime_checkable
class TakesOver(Protocol):
    """A stage that may start in the middle of a session, from the snapshot of its context."""

    def take_over(self) -> None:
        """Go on where the owner before left off. Called before the first event and frame are handled."""


@runtime_checkable
class HasIdle(Protocol):
    """A stage that knows moments at which another worker may take its session over unnoticed."""

    @property
    def idle(self) -> bool:
        """Whether nothing of this stage is under way: no speech, no turn, no audio."""


@runtime_checkable
class HasPlayhead(Protocol):
    """A stage that plays to the caller. Its position goes out with the worker's heartbeat, every 100 ms."""

    @property
    def playhead(self) -> Playhead:
        """Return how far the caller has heard the current turn."""


class StageModule(Protocol[P, Shared]):
    """The `stage.py` of a stage that ingress claims.

    P: its kind of provider. Shared: what all sessions of a worker have in common.
    """

    @property
    def STAGE(self) -> type[Stage]:
        """The class of the stage."""

    def open_worker(self, providers: Providers[P], /) -> AbstractAsyncContextManager[Shared]:
        """Open what the sessions of a worker share."""

    def open_session(self, context: StageContext, shared: Shared, /) -> AbstractAsyncContextManager[Stage]:
        """Open the stage of one session; leaving flushes within 2 s. Raises ProviderMissing, ProviderError, Refused."""


def handles(*received: type[Event]) -> Callable[[Handler], Handler]:
    """Mark the method that handles these events and their subclasses.

    A plain method runs at once, in the order events arrive. An `async` one runs in a task, after those before it.
    """

    def mark(handler: Handler) -> Handler:
        handler.__dict__["handles"] = received
        return handler

    return mark


def handlers(stage: type[Stage]) -> dict[type[Event], str]:
    """Return event -> name of the method of `stage` that handles it, with the events of every marked superclass."""
    found: dict[type[Event], str] = {}
    for name, method in inspect.getmembers(stage, inspect.isfunction):
        for marked in getattr(method, "handles", ()):
            found.update({event: name for event in events.EVENTS if issubclass(event, marked)})
    return found
