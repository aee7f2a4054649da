"""One session as one stage sees it: its events, its audio, and the tasks that live as long as the session.

A stage is a class with `publishes`, one `@handles` handler for each event and perhaps `on_audio`; `open_session` in its
`stage.py` is an async context manager that yields it. Plain handlers run at once, in the order events arrive. `async`
handlers run one after another in one task, so that a cancel never waits behind a sentence that is still spoken.
"""

import asyncio
import inspect
import time
from collections import Counter, deque
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Protocol, TypeVar

import msgspec

from schemas import control, events, media, subjects
from schemas.agent import AgentDocument
from schemas.control import PreConnectAudio, RoomAccess
from schemas.events import Event
from schemas.media import Frame
from session.gate import Gate

MAX_EVENTS = 1_000  # waiting events of one session; a conversation says about ten a second
MAX_TIMERS = 64  # kept before those that were cancelled meanwhile are swept out
MAX_EARLY_FRAMES = 1_500  # 30 s of 20 ms frames that came before the provider was ready

Handler = TypeVar("Handler", bound=Callable[..., Any])


def handles(*call_events: type[Event]) -> Callable[[Handler], Handler]:
    """Marks the method that handles these events (or their subclasses)."""

    def mark(handler: Handler) -> Handler:
        handler.__dict__["handles"] = call_events
        return handler

    return mark


def handlers(stage: type) -> dict[type[Event], str]:
    """Event -> name of the method of `stage` that handles it; events of every subclass included."""
    found: dict[type[Event], str] = {}
    for name, method in inspect.getmembers(stage, inspect.isfunction):
        for heard in getattr(method, "handles", ()):
            found.update({event: name for event in events.EVENTS if issubclass(event, heard)})
    return found


class Overloaded(Exception):
    """More events wait than a session may keep: it is ended rather than silently losing one."""


class Outlet(Protocol):
    """Where a session's words go: the bus, in a worker."""

    def publish_event(self, subject: str, data: bytes, message_id: str) -> None: ...

    def publish_ephemeral(self, subject: str, data: bytes) -> None: ...

    def publish_media(self, subject: str, data: bytes) -> None: ...


class StageContext:
    """One call in one stage. A stage uses `say`, `send`, `spawn`, `later`, `now_ms`, `agent` and `owners`."""

    def __init__(self, stage: str, session: str, agent: str, epoch: int, outlet: Outlet) -> None:
        self.stage = stage
        self.id = session
        self.agent_id = agent
        self.epoch = epoch
        self.agent = AgentDocument(id=agent)  # replaced by the real one at `start`
        self.owners: dict[str, events.Owner] = {}
        self.coordinator = ""
        self.transport = ""  # how the caller is reached, from the claim
        self.room: RoomAccess | None = None  # egress in a room: where, and with what token
        self.snapshot = b""  # msgpack of session.state.SessionState at the time of the claim
        self.gate = Gate()
        self.counters: dict[str, int] = {}
        self.opened_at = time.monotonic()
        self._outlet = outlet
        self._media_to: dict[str, str] = {}  # worker -> subject
        self._subjects: dict[type[Event], str] = {}  # where each is said in this session
        self._seq = {"event": 0, "ephemeral": 0, "media": 0}
        self._early_events: list[Event] = []
        self._early_frames: deque[Frame] = deque(maxlen=MAX_EARLY_FRAMES)
        self._work: asyncio.Queue[tuple[Callable[[Any], Any], Event]] = asyncio.Queue(MAX_EVENTS)
        self._stage: Any = None
        self._handlers: dict[type[Event], Callable[[Any], Any]] = {}
        self._tasks: asyncio.TaskGroup | None = None
        self._spawned: set[asyncio.Task[Any]] = set()
        self._timers: set[asyncio.TimerHandle] = set()
        self._over = asyncio.Event()
        self._failure: BaseException | None = None

    # --- what a stage calls -------------------------------------------------------------------------------------

    def now_ms(self) -> int:
        """A monotonic clock in milliseconds, the only one a stage decides with."""
        return time.monotonic_ns() // 1_000_000

    def publish(self, event: Event) -> Event:
        """Publish an event of this stage; returns it stamped with session, agent, epoch, seq and time."""
        plane = "ephemeral" if isinstance(event, events.EPHEMERAL) else "event"
        seq = self._seq[plane]
        self._seq[plane] = seq + 1
        stamped = msgspec.structs.replace(
            event, session=self.id, agent=self.agent_id, epoch=self.epoch, seq=seq, time=time.time_ns() // 1_000
        )
        if plane == "ephemeral":
            self._outlet.publish_ephemeral(self._subject(type(event)), events.encode(stamped))
        else:
            message_id = f"{self.id}-{self.stage}-{self.epoch}-{seq}"
            self._outlet.publish_event(self._subject(type(event)), events.encode(stamped), message_id)
        return stamped

    def send(
        self, worker: str, pcm: bytes, rate: int, *, at: int = 0, turn: int = 0, segment: int = 0, flags: int = 0
    ) -> None:
        """Send at most 100 ms of audio to the worker that owns the next stage of this session."""
        seq = self._seq["media"]
        self._seq["media"] = seq + 1
        frame = Frame(pcm, self.epoch, seq, rate, at, turn, segment, flags)
        subject = self._media_to.get(worker)
        if subject is None:  # checking ids is dearer than a frame
            subject = self._media_to[worker] = subjects.media(worker, self.id)
        self._outlet.publish_media(subject, media.encode(frame))

    def send_pre_connect_audio(self, pcm: bytes) -> None:
        """Give ingress what the caller said before the call and sent to egress (PCM16 mono at 16 kHz)."""
        said = control.encode(PreConnectAudio(self.id, self.epoch, pcm))
        self._outlet.publish_ephemeral(subjects.control(self.id, subjects.INGRESS, "pre_connect_audio"), said)

    def spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """A task that lives no longer than the session; what it raises ends the session."""
        assert self._tasks is not None, "spawn before open"
        task = self._tasks.create_task(work)
        self._spawned.add(task)
        task.add_done_callback(self._spawned.discard)
        return task

    def later(self, delay_ms: float, callback: Callable[[], None]) -> asyncio.TimerHandle:
        """Call `callback` after `delay_ms` unless the session ends first; what it raises ends the session."""

        def run() -> None:
            self._timers.discard(handle)
            self.guard(callback)

        handle = asyncio.get_running_loop().call_later(delay_ms / 1000, run)
        if len(self._timers) >= MAX_TIMERS:
            self._timers = {timer for timer in self._timers if not timer.cancelled()}
        self._timers.add(handle)
        return handle

    def count(self, reason: str) -> None:
        """Count something dropped or refused."""
        self.counters[reason] = self.counters.get(reason, 0) + 1

    def counted(self) -> Counter[str]:
        """All that was counted, and what never came."""
        return Counter(self.counters) + Counter(gaps=self.gate.gaps)

    # --- what the worker calls ----------------------------------------------------------------------------------

    def hear(self, subject: str, data: bytes) -> None:
        """A message of the event or live plane, straight from the bus: refused and counted, or handled."""
        if self._over.is_set():
            return
        try:
            event = events.decode(data)
        except events.BadEvent:
            self.count("bad_event")
            return
        if event.session != self.id or subject != self._subject(type(event)):
            self.count("bad_event")
            return
        refused = self.gate.event(event)
        if refused:
            self.count(refused)
            return
        if isinstance(event, events.SessionOpened):
            self.owners = dict(event.owners)
        elif isinstance(event, events.OwnerChanged):
            self.owners[event.stage] = events.Owner(event.worker, event.owner_epoch)
        if self._stage is not None:
            self.guard(self._handle, event)
        elif len(self._early_events) < MAX_EVENTS:
            self._early_events.append(event)
        else:
            self.fail(Overloaded(f"{MAX_EVENTS} call_events came before the provider was ready"))

    def on_audio(self, data: bytes, speaker: str) -> None:
        """A media message, straight from the bus; `speaker` is the stage it must come from."""
        if self._over.is_set():
            return
        try:
            frame = media.decode(data)
        except media.BadFrame:
            self.count("bad_frame")
            return
        refused = self.gate.frame(speaker, frame)
        if refused:
            self.count(refused)
        elif self._stage is None:
            if len(self._early_frames) == MAX_EARLY_FRAMES:
                self.count("early_frame_dropped")
            self._early_frames.append(frame)
        else:
            self._stage.on_audio(frame)

    async def run(self, stage: Any) -> None:
        """Hand events to `stage` until `close` or `fail`. The caller holds the stage open around this."""
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            try:
                self._attach(stage)
                await self._over.wait()
            finally:
                self.silence()
        if self._failure:
            raise self._failure

    def close(self) -> None:
        """Let `live` return."""
        self._over.set()

    def fail(self, failure: BaseException) -> None:
        """Let `live` raise `failure`."""
        self._failure = self._failure or failure
        self.close()

    def guard(self, callback: Callable[..., None], *arguments: object) -> None:
        """Run a plain callback of this session; what it raises ends the session, not the loop."""
        try:
            callback(*arguments)
        except Exception as error:  # noqa: BLE001 - it ends this call and no other; worker.py reports it
            self.fail(error)

    def silence(self) -> None:
        """Stop every task and timer of the session."""
        for handle in self._timers:
            handle.cancel()
        self._timers.clear()
        for task in self._spawned:
            task.cancel()

    def _attach(self, stage: Any) -> None:
        self._handlers = {event: getattr(stage, name) for event, name in handlers(type(stage)).items()}
        slow = {event: handler for event, handler in self._handlers.items() if inspect.iscoroutinefunction(handler)}
        if slow:
            self._handlers |= {event: partial(self._queue, handler) for event, handler in slow.items()}
            self.spawn(self._labour())
        self._stage = stage
        for event in self._early_events:
            if not self.gate.stale(event):  # it may have been cancelled while it waited
                self._handle(event)
        for frame in self._early_frames:
            stage.on_audio(frame)
        self._early_events.clear()
        self._early_frames.clear()

    def _handle(self, event: Event) -> None:
        handler = self._handlers.get(type(event))
        if handler is not None:
            handler(event)

    def _queue(self, handler: Callable[[Any], Coroutine[Any, Any, None]], event: Event) -> None:
        if self._work.full():
            raise Overloaded(f"{MAX_EVENTS} call_events wait for a slow handler")
        self._work.put_nowait((handler, event))

    def _subject(self, event: type[Event]) -> str:
        """Return the subject of an event, from a cache: spelling it costs more than the rest of publishing."""
        subject = self._subjects.get(event)
        if subject is None:
            plane = subjects.ephemeral if issubclass(event, events.EPHEMERAL) else subjects.event
            subject = self._subjects[event] = plane(self.agent_id, self.id, events.tag(event))
        return subject

    async def _labour(self) -> None:
        while True:
            handler, event = await self._work.get()
            if not self.gate.stale(event):  # it may have been cancelled while it waited
                await handler(event)
