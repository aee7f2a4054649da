"""One session of one stage without a bus: give it events and frames, and read what it publishes and sends.

    async with call(stages.egress.stage, agent={"tts": {"provider": "scripted"}}) as egress:
        egress.hear(TurnStarted(turn=2, answers=0))
        egress.hear_audio(pcm, turn=2, flags=Flag.FIRST_OF_SEGMENT)
        await egress.publishes(PlaybackStarted, turn=2)

Context and inbox are the real ones, gate included; only the outlet is not the bus. In a test marked
`@in_virtual_time` (virtual_time.py) the same code runs without waiting.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, NamedTuple, TypeVar

import msgspec

from bus.message import Message
from schemas import events, media, subjects
from schemas.agent import AgentDocument
from schemas.audio import AGENT_HZ, CALLER_HZ, SAMPLE_BYTES
from schemas.events import Event, Owner
from schemas.media import Frame
from stages.runtime.context import StageContext
from stages.runtime.inbox import Inbox
from stages.runtime.providers import Provider, ProviderContext, Providers
from stages.runtime.stage import Stage, StageModule

WITHIN_S = 10.0  # on the loop's clock; nothing in a test takes longer unless it is broken
EPOCH = 3  # of every stage, so that 0 to 2 are dead ones

F = TypeVar("F", bound=Event)
T = TypeVar("T")
P = TypeVar("P", bound=Provider)
Shared = TypeVar("Shared")

Opening = Callable[[StageContext], AbstractAsyncContextManager[Stage]]


class Sent(NamedTuple):
    """A frame that left the stage. now_ms: the session's clock at that moment. worker: id of the receiver."""

    now_ms: float
    worker: str
    frame: Frame


class Outbox:
    """The outlet of a session: keeps all events and frames in order, and wakes the test that waits for one."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.sent: list[Sent] = []
        self.grew = asyncio.Event()

    def publish_event(self, subject: str, data: bytes, message_id: str) -> None:
        event = events.decode(data)
        parts = subjects.parse(subject)
        assert parts is not None
        assert parts.tag == events.tag(event)
        self.events.append(event)
        self.grew.set()

    def publish_ephemeral(self, subject: str, data: bytes) -> None:
        self.publish_event(subject, data, "")

    def publish_media(self, subject: str, data: bytes) -> None:
        worker = subject.split(".")[2]
        self.sent.append(Sent(asyncio.get_running_loop().time() * 1000, worker, media.decode(data)))
        self.grew.set()


class TestContext(StageContext):
    """A context whose clock is the event loop's, which a test may have made virtual."""

    __test__ = False

    def now_ms(self) -> int:
        return round(asyncio.get_running_loop().time() * 1000)


class Call:
    """One session of the stage under test. stage: the open stage, as the test knows its class (hence Any)."""

    def __init__(self, inbox: Inbox, outbox: Outbox) -> None:
        self.inbox = inbox
        self.context = inbox.context
        self.outbox = outbox
        self.stage: Any = None
        self.task: asyncio.Task[None] | None = None
        self._seq: dict[tuple[str, str], int] = {}
        self._at: dict[int, int] = {}  # turn -> samples of agent audio that were given

    @property
    def session(self) -> StageContext:
        """The context, by the name that tests of stages use for now."""
        return self.context

    @property
    def events(self) -> list[Event]:
        """Return the events published so far."""
        return self.outbox.events

    @property
    def sent(self) -> list[Sent]:
        """Return the frames sent so far."""
        return self.outbox.sent

    def hear(self, event: Event) -> None:
        """Give the stage `event`; envelope fields that are not set are stamped as its publisher would."""
        plane = "ephemeral" if isinstance(event, events.EPHEMERAL) else "event"
        stage = events.stage(event)
        stamped = msgspec.structs.replace(
            event,
            session=event.session or self.context.id,
            agent=event.agent or self.context.agent_id,
            epoch=event.epoch or EPOCH,
            seq=event.seq or self._next(stage, plane),
        )
        subject = subjects.ephemeral if plane == "ephemeral" else subjects.event
        where = subject(stamped.agent, stamped.session, events.tag(event))
        self.inbox.receive_event(Message(where, events.encode(stamped)))

    def hear_audio(
        self, pcm: bytes, *, at: int | None = None, turn: int = 0, segment: int = 0, flags: int = 0, epoch: int = EPOCH
    ) -> None:
        """Give the stage one frame: of the caller's audio if the stage is stt, else of the agent's.

        at: None for 0 in stt, and for agent audio behind that of its turn before.
        """
        sender, rate = ("ingress", CALLER_HZ) if self.context.stage == "stt" else ("tts", AGENT_HZ)
        if at is None:
            at = self._at.get(turn, 0) if sender == "tts" else 0
        if sender == "tts":
            self._at[turn] = at + len(pcm) // SAMPLE_BYTES
        frame = Frame(pcm, epoch, self._next(sender, "media"), rate, at, turn, segment, flags)
        self.inbox.receive_audio(media.encode(frame), sender)

    def begin_audio(self, turn: int, at_ms: int) -> None:
        """Let the agent audio of a turn begin at a position, as tts sends it to a new owner of egress."""
        self._at[turn] = at_ms * AGENT_HZ // 1000

    async def publishes(self, what: type[F], /, **fields: Any) -> F:
        """Return the first `what` with these fields, waited for; AssertionError if none is published."""

        def found() -> F | None:
            for event in self.events:
                if isinstance(event, what) and all(getattr(event, name) == value for name, value in fields.items()):
                    return event
            return None

        return await self.until(found, f"{what.__name__}({fields})")

    def published(self, what: type[F]) -> list[F]:
        """Return every `what` published so far."""
        return [event for event in self.events if isinstance(event, what)]

    async def sends(self, flag: int, **fields: int) -> Frame:
        """Return the first frame with `flag` and these fields, waited for."""

        def found() -> Frame | None:
            for _, _, frame in self.sent:
                if frame.flags & flag and all(getattr(frame, name) == value for name, value in fields.items()):
                    return frame
            return None

        return await self.until(found, f"a frame with {flag!r} {fields}")

    def audio(self, turn: int | None = None) -> bytes:
        """Return all samples sent so far (of one turn)."""
        return b"".join(sent.frame.pcm for sent in self.sent if turn is None or sent.frame.turn == turn)

    async def until(self, found: Callable[[], T | None], what: str) -> T:
        """Wait until `found` returns something; looks again at each event and frame of the stage."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + WITHIN_S
        while True:
            result = found()
            if result is not None:
                return result
            if self.task is not None and self.task.done():
                self.task.result()
            seen = [f"{events.tag(event)} turn {event.turn}" for event in self.events]
            assert loop.time() < deadline, f"{what} did not come; published: {seen}, {len(self.sent)} frames sent"
            self.outbox.grew.clear()
            try:
                async with asyncio.timeout_at(min(deadline, loop.time() + 0.2)):  # a stage that failed wakes no waiter
                    await self.outbox.grew.wait()
            except TimeoutError:
                pass

    async def settle(self) -> None:
        """Return when all events given so far have been handled by their plain handlers."""
        for _ in range(5):  # the task of the async handlers wakes, and one begins
            await asyncio.sleep(0)

    async def wait_ms(self, ms: float) -> None:
        """Let `ms` of the loop's time pass (which costs nothing in virtual time)."""
        await asyncio.sleep(ms / 1000)

    def _next(self, stage: str, plane: str) -> int:
        seq = self._seq.get((stage, plane), 0)
        self._seq[stage, plane] = seq + 1
        return seq


class Worker:
    """A worker of the stage: what its sessions share is open, and `call` opens sessions in it."""

    def __init__(self, stage: type[Stage], opening: Opening, shared: Any) -> None:
        self._stage = stage
        self._opening = opening
        self.shared = shared  # what `open_worker` yielded, as the test knows its class

    @asynccontextmanager
    async def call(
        self,
        agent: Mapping[str, Any] | None = None,
        *,
        session: str = "s1",
        transport: str = "websocket",
        snapshot: bytes = b"",
    ) -> AsyncIterator[Call]:
        """Open a session of agent document `agent` (id `agent1` by default); worker `<stage>-1` owns each stage.

        snapshot: what the stage starts from, as in `control.Start`.
        """
        document = AgentDocument.model_validate({"id": "agent1", **(agent or {})})
        outbox = Outbox()
        context = TestContext(_name(self._stage), session, document.id, EPOCH, outbox, self._stage.publishes)
        context.agent = document
        context.coordinator = "ingress-1"
        context.owners = {stage: Owner(f"{stage}-1", EPOCH) for stage in subjects.STAGES}
        context.transport = transport
        context.snapshot = snapshot
        inbox = Inbox(context)
        call = Call(inbox, outbox)
        async with self._opening(context) as stage:
            call.stage = stage
            call.task = asyncio.create_task(inbox.run(stage))
            try:
                await asyncio.sleep(0)  # the inbox attaches the stage
                yield call
            finally:
                inbox.close()
                await call.task


@asynccontextmanager
async def worker(module: StageModule[P, Shared], context: ProviderContext | None = None) -> AsyncIterator[Worker]:
    """A worker of the stage whose `stage.py` is `module`."""
    opening = Providers[P](_name(module.STAGE), context or ProviderContext())
    async with opening as providers, module.open_worker(providers) as shared:
        yield Worker(module.STAGE, lambda context: module.open_session(context, shared), shared)


@asynccontextmanager
async def call(
    module: StageModule[P, Shared],
    agent: Mapping[str, Any] | None = None,
    *,
    transport: str = "websocket",
    snapshot: bytes = b"",
) -> AsyncIterator[Call]:
    """Open one session in a worker of its own."""
    async with worker(module) as running, running.call(agent, transport=transport, snapshot=snapshot) as one:
        yield one


def _name(stage: type[Stage]) -> str:
    return stage.__module__.split(".")[1]  # stages.<stage>.stage
