"""One stage of one call without a bus: tell it events and frames, and read what it said and sent.

    async with call(stages.egress.stage, agent={"tts": {"provider": "scripted"}}) as egress:
        egress.hear(TurnStarted(turn=2, answers=0))
        egress.hear_audio(pcm, turn=2, flags=Flag.FIRST_OF_SEGMENT)
        await egress.publishes(PlaybackStarted, turn=2)

The session is the real one, with its gate; only the outlet is not the bus. In a test marked `@in_virtual_time`
(clock.py) the same code runs without waiting.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from types import ModuleType
from typing import Any, NamedTuple, TypeVar

import msgspec

from schemas import events, media, subjects
from schemas.agent import AgentDocument
from schemas.audio import AGENT_HZ, CALLER_HZ
from schemas.events import Event, Owner
from schemas.media import Frame
from stages.runtime.context import StageContext
from stages.runtime.providers import ProviderContext, Providers

PATIENCE_S = 10.0  # on the loop's clock; nothing in a test takes longer unless it is broken
EPOCH = 3  # of every stage, so that 0 to 2 are dead ones

F = TypeVar("F", bound=Event)
T = TypeVar("T")


class Sent(NamedTuple):
    """A frame that left the stage. now_ms: the session's clock when it did. worker: whom it was addressed to."""

    now_ms: float
    worker: str
    frame: Frame


class Outbox:
    """The outlet of a session: keeps what was said and sent, in order, and tells who waits for it."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.sent: list[Sent] = []
        self.grew = asyncio.Event()

    def publish_event(self, subject: str, data: bytes, message_id: str) -> None:
        event = events.decode(data)
        said = subjects.parse(subject)
        assert said is not None
        assert said.tag == events.tag(event)
        self.events.append(event)
        self.grew.set()

    def publish_ephemeral(self, subject: str, data: bytes) -> None:
        self.publish_event(subject, data, "")

    def publish_media(self, subject: str, data: bytes) -> None:
        worker = subject.split(".")[2]
        self.sent.append(Sent(asyncio.get_running_loop().time() * 1000, worker, media.decode(data)))
        self.grew.set()


class TestContext(StageContext):
    """A session whose clock is the loop's, which a test may have made virtual."""

    __test__ = False

    def now_ms(self) -> int:
        return round(asyncio.get_running_loop().time() * 1000)


class Call:
    """One session of the stage under test, and everybody around it."""

    def __init__(self, session: StageContext, outbox: Outbox) -> None:
        self.session = session
        self.outbox = outbox
        self.stage: Any = None
        self.task: asyncio.Task[None] | None = None
        self._seq: dict[tuple[str, str], int] = {}

    @property
    def events(self) -> list[Event]:
        """What it said so far."""
        return self.outbox.events

    @property
    def sent(self) -> list[Sent]:
        """What it sent so far."""
        return self.outbox.sent

    def hear(self, event: Event) -> None:
        """The stage hears `event`; envelope fields that are not set are stamped as the speaker would."""
        plane = "ephemeral" if isinstance(event, events.EPHEMERAL) else "event"
        stage = events.stage(event)
        stamped = msgspec.structs.replace(
            event,
            session=event.session or self.session.id,
            agent=event.agent or self.session.agent_id,
            epoch=event.epoch or EPOCH,
            seq=event.seq or self._next(stage, plane),
        )
        subject = subjects.ephemeral if plane == "ephemeral" else subjects.event
        self.session.hear(subject(stamped.agent, stamped.session, events.tag(event)), events.encode(stamped))

    def hear_audio(
        self, pcm: bytes, *, at: int = 0, turn: int = 0, segment: int = 0, flags: int = 0, epoch: int = EPOCH
    ) -> None:
        """The stage hears one chunk: of the caller's line if it is stt, else of the agent's."""
        speaker, rate = ("ingress", CALLER_HZ) if self.session.stage == "stt" else ("tts", AGENT_HZ)
        frame = Frame(pcm, epoch, self._next(speaker, "media"), rate, at, turn, segment, flags)
        self.session.on_audio(media.encode(frame), speaker)

    async def publishes(self, what: type[F], /, **fields: Any) -> F:
        """The first `what` with these fields that it has said or will say; AssertionError if it does not."""

        def found() -> F | None:
            for event in self.events:
                if isinstance(event, what) and all(getattr(event, name) == value for name, value in fields.items()):
                    return event
            return None

        return await self.until(found, f"{what.__name__}({fields})")

    def published(self, what: type[F]) -> list[F]:
        """Every `what` it said so far."""
        return [event for event in self.events if isinstance(event, what)]

    async def sends(self, flag: int, **fields: int) -> Frame:
        """The first frame with `flag` and these fields that it has sent or will send."""

        def found() -> Frame | None:
            for _, _, frame in self.sent:
                if frame.flags & flag and all(getattr(frame, name) == value for name, value in fields.items()):
                    return frame
            return None

        return await self.until(found, f"a frame with {flag!r} {fields}")

    def audio(self, turn: int | None = None) -> bytes:
        """All samples sent so far (of one turn)."""
        return b"".join(sent.frame.pcm for sent in self.sent if turn is None or sent.frame.turn == turn)

    async def until(self, found: Callable[[], T | None], what: str) -> T:
        """Wait until `found` returns something; looks again whenever the stage says or sends."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + PATIENCE_S
        while True:
            result = found()
            if result is not None:
                return result
            if self.task is not None and self.task.done():
                self.task.result()
            heard = [f"{events.tag(event)} turn {event.turn}" for event in self.events]
            assert loop.time() < deadline, f"{what} did not come; said: {heard}, {len(self.sent)} frames sent"
            self.outbox.grew.clear()
            try:
                async with asyncio.timeout_at(min(deadline, loop.time() + 0.2)):  # a stage that failed tells nobody
                    await self.outbox.grew.wait()
            except TimeoutError:
                pass

    async def settle(self) -> None:
        """Until all that was heard has been handled by its plain handler."""
        for _ in range(5):  # the inbox task wakes, hands on, and an async handler begins
            await asyncio.sleep(0)

    async def wait_ms(self, ms: float) -> None:
        """Let `ms` of the loop's time pass (which costs nothing in virtual time)."""
        await asyncio.sleep(ms / 1000)

    def _next(self, stage: str, plane: str) -> int:
        seq = self._seq.get((stage, plane), 0)
        self._seq[stage, plane] = seq + 1
        return seq


class Worker:
    """The stage's worker: what its sessions share is open, and calls can be opened in it."""

    def __init__(self, module: ModuleType, shared: Any) -> None:
        self._module = module
        self.shared = shared

    @asynccontextmanager
    async def call(
        self, agent: Mapping[str, Any] | None = None, *, session: str = "s1", transport: str = "websocket"
    ) -> AsyncIterator[Call]:
        """A session of agent document `agent` (id `agent1` unless told); every stage is owned by worker `<stage>-1`."""
        document = AgentDocument.model_validate({"id": "agent1", **(agent or {})})
        outbox = Outbox()
        live = TestContext(_stage_of(self._module), session, document.id, EPOCH, outbox)
        live.agent = document
        live.coordinator = "ingress-1"
        live.owners = {stage: Owner(f"{stage}-1", EPOCH) for stage in subjects.STAGES}
        live.transport = transport
        call = Call(live, outbox)
        async with self._module.open_session(live, self.shared) as stage:
            call.stage = stage
            call.task = asyncio.create_task(live.run(stage))
            try:
                await asyncio.sleep(0)  # `live` attaches the stage
                yield call
            finally:
                live.close()
                await call.task


@asynccontextmanager
async def worker(module: ModuleType, context: ProviderContext | None = None) -> AsyncIterator[Worker]:
    """A worker of the stage whose `stage.py` is `module`."""
    opening = Providers(_stage_of(module), context or ProviderContext())
    async with opening as providers, module.open_worker(providers) as shared:
        yield Worker(module, shared)


@asynccontextmanager
async def call(
    module: ModuleType, agent: Mapping[str, Any] | None = None, *, transport: str = "websocket"
) -> AsyncIterator[Call]:
    """One call in a worker of its own."""
    async with worker(module) as running, running.call(agent, transport=transport) as one:
        yield one


def _stage_of(module: ModuleType) -> str:
    return module.__name__.split(".")[-2]
