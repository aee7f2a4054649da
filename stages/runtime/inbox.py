"""What the worker feeds: the messages of one session, decoded, sifted by the gate, and handed to the stage.

Plain handlers run in the bus callback, in the order events arrive. `async` handlers run one after another in one task,
so that a cancel never waits behind a sentence that is still spoken. Until the stage is open, messages wait.
"""

import asyncio
import inspect
import time
from collections import Counter, deque
from collections.abc import Callable, Coroutine
from functools import partial

from bus.message import Message
from schemas import events, media
from schemas.events import Event, Owner
from schemas.media import Frame
from session.gate import Gate
from stages.runtime.context import StageContext
from stages.runtime.stage import HandlesAudio, Stage, TakesOver, handlers

MAX_EVENTS = 1_000  # waiting events of one session; a conversation has about ten a second
MAX_EARLY_FRAMES = 1_500  # 30 s of 20 ms frames that arrive before the provider is open


class Overloaded(Exception):
    """More events wait than a session may keep: the session ends, because no event may be dropped."""


class BeyondCut(Exception):
    """This stage handled an event that the new owner of another stage does not know: it must start from the snapshot.

    An owner that was given up may publish once more before its receivers learn of its successor.
    """


class Inbox:
    """Receives the events and the audio of one session for its stage."""

    def __init__(self, context: StageContext) -> None:
        self.context = context
        self.id = context.id
        self.gate = Gate()
        self._made_s = time.monotonic()
        self._lifetime = context.lifetime
        self._subjects: dict[type[Event], str] = {}
        self._early_events: list[Event] = []
        self._early_frames: deque[Frame] = deque(maxlen=MAX_EARLY_FRAMES)
        self._attached = False
        self._handlers: dict[type[Event], Callable[[Event], object]] = {}
        self._on_audio: Callable[[Frame], None] | None = None
        self._waiting: asyncio.Queue[tuple[Callable[[Event], Coroutine[object, None, None]], Event]]
        self._waiting = asyncio.Queue(MAX_EVENTS)

    async def run(self, stage: Stage) -> None:
        """Hand messages to `stage` until `close`, or raise what made it fail. The caller keeps the stage open."""
        await self._lifetime.run(partial(self._attach, stage))

    def start_from(self, after: dict[str, tuple[int, int]], owners: dict[str, Owner]) -> None:
        """Begin behind a snapshot. after: stage -> (epoch, seq) of its last event in it. owners: of its session."""
        self._early_events = [event for event in self._early_events if not self.gate.in_snapshot(event, after)]
        self.gate.start_after(after)
        for stage, owner in owners.items():
            self.gate.raise_minimum(stage, owner.epoch)
            known = self.context.owners.get(stage)
            if known is None or known.epoch < owner.epoch:
                self.context.owners[stage] = owner

    def close(self) -> None:
        """Let `run` return, and drop every later message."""
        self._lifetime.end()

    @property
    def age_s(self) -> float:
        """Return the seconds since the session was claimed."""
        return time.monotonic() - self._made_s

    def counted(self) -> Counter[str]:
        """Return what was dropped or refused so far, by reason; `gaps` counts messages that never arrived."""
        return Counter(self.context.counters) + Counter(gaps=self.gate.gaps)

    def receive_event(self, message: Message) -> None:
        """Take a message of the event or ephemeral plane from the bus: refuse and count it, or handle it."""
        if self._lifetime.ended:
            return
        try:
            event = events.decode(message.data)
        except events.BadEvent:
            self.context.count("bad_event")
            return
        if event.session != self.id or message.subject != self._subject(type(event)):
            self.context.count("bad_event")
            return
        refused = self.gate.event(event)
        if refused:
            self.context.count(refused)
            return
        if isinstance(event, events.OwnerChanged) and self._attached and self.gate.beyond(event):
            self._lifetime.fail(BeyondCut(f"an event of {event.stage} is not in the snapshot"))
            return
        if isinstance(event, events.SessionOpened):
            self.context.owners = dict(event.owners)
        elif isinstance(event, events.OwnerChanged):
            self.context.owners[event.stage] = Owner(event.worker, event.owner_epoch)
        if self._attached:
            self._lifetime.guard(self._handle, event)
        elif len(self._early_events) < MAX_EVENTS:
            self._early_events.append(event)
        else:
            self._lifetime.fail(Overloaded(f"{MAX_EVENTS} events arrived before the provider was open"))

    def receive_audio(self, data: bytes, sender: str) -> None:
        """Take a media message from the bus. sender: the stage that must have sent it."""
        if self._lifetime.ended:
            return
        try:
            frame = media.decode(data)
        except media.BadFrame:
            self.context.count("bad_frame")
            return
        refused = self.gate.frame(sender, frame)
        if refused:
            self.context.count(refused)
        elif not self._attached:
            if len(self._early_frames) == MAX_EARLY_FRAMES:
                self.context.count("early_frame_dropped")
            self._early_frames.append(frame)
        elif self._on_audio is None:
            self.context.count("unexpected_audio")
        else:
            self._lifetime.guard(self._on_audio, frame)

    def _attach(self, stage: Stage) -> None:
        self._on_audio = stage.on_audio if isinstance(stage, HandlesAudio) else None
        found = handlers(type(stage))
        # getattr gives Any: `handles` names the events of each method, and tests/runtime/test_stage.py checks its type
        self._handlers = {event: getattr(stage, name) for event, name in found.items()}
        slow = {event: handler for event, handler in self._handlers.items() if inspect.iscoroutinefunction(handler)}
        if slow:
            self._handlers |= {event: partial(self._queue, handler) for event, handler in slow.items()}
            self.context.spawn(self._handle_waiting())
        self._attached = True
        if isinstance(stage, TakesOver):
            stage.take_over()
        for event in self._early_events:
            if not self.gate.stale(event):  # its turn may have been cancelled while it waited
                self._handle(event)
        if self._on_audio is not None:
            for frame in self._early_frames:
                self._on_audio(frame)
        self._early_events.clear()
        self._early_frames.clear()

    def _handle(self, event: Event) -> None:
        handler = self._handlers.get(type(event))
        if handler is not None:
            handler(event)

    def _queue(self, handler: Callable[[Event], Coroutine[object, None, None]], event: Event) -> None:
        if self._waiting.full():
            raise Overloaded(f"{MAX_EVENTS} events wait for an async handler")
        self._waiting.put_nowait((handler, event))

    async def _handle_waiting(self) -> None:
        while True:
            handler, event = await self._waiting.get()
            if not self.gate.stale(event):  # its turn may have been cancelled while it waited
                await handler(event)

    def _subject(self, event: type[Event]) -> str:
        subject = self._subjects.get(event)
        if subject is None:
            subject = self._subjects[event] = self.context.subject_of(event)
        return subject
