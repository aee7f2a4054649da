"""The session as a stage uses it: to publish events, send audio, spawn tasks and set timers.

The worker feeds the session's events and audio to the stage through its `Inbox`.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import ClassVar, Protocol, TypeVar, TypeVarTuple

import msgspec

from schemas import control, events, media, subjects
from schemas.agent import AgentDocument
from schemas.control import PreConnectAudio, RoomAccess
from schemas.events import Event
from schemas.media import Frame
from stages.runtime.deadline import Deadline
from stages.runtime.lifetime import Lifetime

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class UnlistedEvent(Exception):
    """A stage published an event that is not in its `publishes`. Raised in tests only."""


class Outlet(Protocol):
    """Where a session's events and audio go: the bus, in a worker."""

    def publish_event(self, subject: str, data: bytes, message_id: str) -> None:
        """Publish an event that the journal keeps. message_id: the journal stores it once."""

    def publish_ephemeral(self, subject: str, data: bytes) -> None:
        """Publish an event that may be lost."""

    def publish_media(self, subject: str, data: bytes) -> None:
        """Send one frame."""


class Silent:
    """The outlet of a session that another worker owns: nothing is published any more."""

    def publish_event(self, subject: str, data: bytes, message_id: str) -> None: ...

    def publish_ephemeral(self, subject: str, data: bytes) -> None: ...

    def publish_media(self, subject: str, data: bytes) -> None: ...


class StageContext:
    """One session in one stage.

    publishes: what the stage lists in its class. Its own `StageFailed` is always allowed. strict: raise UnlistedEvent
    for any other event instead of counting it; the tests switch it on.
    """

    strict: ClassVar[bool] = False

    def __init__(
        self,
        stage: str,
        session: str,
        agent: str,
        epoch: int,
        outlet: Outlet,
        publishes: tuple[type[Event], ...],
    ) -> None:
        self.stage = stage
        self.id = session
        self.agent_id = agent
        self.epoch = epoch
        self.agent = AgentDocument(id=agent)  # replaced by the one of `start`
        self.owners: dict[str, events.Owner] = {}  # stage -> its owner; the inbox keeps it current
        self.coordinator = ""  # worker id of the ingress that claimed the session
        self.transport = ""  # how the caller is reached, from the claim
        self.room: RoomAccess | None = None  # for egress in a session of transport `livekit`
        self.snapshot = b""  # msgpack of session.state.SessionState at the time of the claim
        self.counters: dict[str, int] = {}
        self.lifetime = Lifetime()
        self._outlet = outlet
        self._publishes = publishes
        self._media_to: dict[str, str] = {}  # worker -> subject
        self._subjects: dict[type[Event], str] = {}  # where this session publishes each listed event
        self._seq = {"event": 0, "ephemeral": 0, "media": 0}

    # --- publish and send -----------------------------------------------------------------------------------------

    def publish(self, event: Event) -> Event:
        """Publish an event of this stage; returns it stamped with session, agent, epoch, seq and time."""
        subject = self._subjects.get(type(event)) or self._subject(type(event))
        plane = "ephemeral" if isinstance(event, events.EPHEMERAL) else "event"
        seq = self._seq[plane]
        self._seq[plane] = seq + 1
        stamped = msgspec.structs.replace(
            event, session=self.id, agent=self.agent_id, epoch=self.epoch, seq=seq, time=time.time_ns() // 1_000
        )
        if plane == "ephemeral":
            self._outlet.publish_ephemeral(subject, events.encode(stamped))
        else:
            self._outlet.publish_event(subject, events.encode(stamped), f"{self.id}-{self.stage}-{self.epoch}-{seq}")
        return stamped

    def send(
        self, worker: str, pcm: bytes, rate: int, *, at: int = 0, turn: int = 0, segment: int = 0, flags: int = 0
    ) -> None:
        """Send at most 100 ms of PCM16 mono to the worker that owns the next stage of this session.

        rate: samples per second. at: number of the first sample. flags: of schemas.media.Flag.
        """
        seq = self._seq["media"]
        self._seq["media"] = seq + 1
        frame = Frame(pcm, self.epoch, seq, rate, at, turn, segment, flags)
        subject = self._media_to.get(worker)
        if subject is None:  # checking ids costs more than a frame
            subject = self._media_to[worker] = subjects.media(worker, self.id)
        self._outlet.publish_media(subject, media.encode(frame))

    def send_pre_connect_audio(self, pcm: bytes) -> None:
        """Send ingress the caller's audio from before the session, which egress received (PCM16 mono at 16 kHz)."""
        recording = control.encode(PreConnectAudio(self.id, self.epoch, pcm))
        self._outlet.publish_ephemeral(subjects.control(self.id, subjects.INGRESS, "pre_connect_audio"), recording)

    def count(self, reason: str) -> None:
        """Count something dropped or refused; `antiphon ps` shows the worker's counters."""
        self.counters[reason] = self.counters.get(reason, 0) + 1

    def silence(self) -> None:
        """Publish and send nothing any more: another worker owns the session."""
        self._outlet = Silent()

    # --- time and tasks -------------------------------------------------------------------------------------------

    def now_ms(self) -> int:
        """Return a monotonic time in milliseconds, the only clock that a stage decides with."""
        return time.monotonic_ns() // 1_000_000

    def spawn(self, work: Coroutine[object, None, T]) -> asyncio.Task[T]:
        """Run `work` in a task that ends with the session. An exception ends the session."""
        return self.lifetime.spawn(work)

    def later(self, delay_ms: float, callback: Callable[[], None]) -> asyncio.TimerHandle:
        """Call `callback` after `delay_ms` unless the session ends first. An exception ends the session."""
        return self.lifetime.later(delay_ms, callback)

    def deadline(self, on_due: Callable[[], None]) -> Deadline:
        """Return a deadline on the clock of `now_ms` that can be set again and again."""
        return Deadline(self.now_ms, self.later, on_due)

    def guard(self, callback: Callable[[*Ts], None], *arguments: *Ts) -> None:
        """Call `callback` at once, for a timer that sessions share. An exception ends this session only."""
        self.lifetime.guard(callback, *arguments)

    def fail(self, failure: BaseException) -> None:
        """End the session because of `failure`."""
        self.lifetime.fail(failure)

    # --- the inbox ------------------------------------------------------------------------------------------------

    def subject_of(self, event: type[Event]) -> str:
        """Return where an event of this session is published, by this stage or by another."""
        plane = subjects.ephemeral if issubclass(event, events.EPHEMERAL) else subjects.event
        return plane(self.agent_id, self.id, events.tag(event))

    def _subject(self, event: type[Event]) -> str:
        """Return the subject of an event that is published for the first time in this session."""
        subject = self.subject_of(event)
        own_failure = issubclass(event, events.StageFailed) and events.stage(event) == self.stage
        if event in self._publishes or own_failure:
            self._subjects[event] = subject  # spelling a subject costs more than the rest of publishing
        elif self.strict:
            raise UnlistedEvent(f"cannot publish {events.tag(event)}: stage {self.stage} does not list it in publishes")
        else:
            self.count("unlisted_event")
        return subject
