"""One session, from the first packet to `session_closed`.

Claims a worker for each stage, keeps the caller's audio in the ring from the first frame, folds every event into the
snapshot that a new owner would start from, and closes in order. `Line` for the transport, stage `ingress` for the bus.
"""

import asyncio
import time
from collections.abc import Iterator
from typing import ClassVar

import structlog

from schemas import events, subjects
from schemas.agent import AgentDocument
from schemas.audio import CALLER_HZ, SAMPLE_BYTES
from schemas.control import RoomAccess
from schemas.events import FAILED, LOST, CloseReason, Event
from schemas.media import MAX_CHUNK_MS, Flag, Frame
from session.audio_buffer import AudioBuffer
from session.state import SessionState, fold
from stages.ingress.owners import CannotClaim, Owners
from stages.ingress.rate_limit import RateLimiter
from stages.runtime.inbox import Inbox
from stages.runtime.stage import handles
from stages.runtime.worker import Worker
from transports.transport import NO_ARRIVAL, Arrival, CallerConnection

ORDERLY = ("hangup", "shutdown", "room_closed")  # no reason to tell the caller about
BEFORE_WORDS = CALLER_HZ  # samples kept before those that became words: a recogniser wants some audio before speech
AHEAD_S = 60.0  # a caller may send a file at once, but not flood the workers that others share
LEAST_S = 0.01  # a frame counts as this long at least: many short ones are a flood, too
KEY_S = 0.1  # a text or a key takes this long: nobody presses faster
KEYS_AHEAD_S = 3.0  # a number may be pasted at once
MAX_TEXT = 2_000  # characters; what a turn takes of the caller's words
DIGITS = frozenset("0123456789*#ABCD")
MAX_HEARD_BYTES = CALLER_HZ * MAX_CHUNK_MS // 1000 * SAMPLE_BYTES

log = structlog.get_logger("ingress")


class Coordinator:
    """A session of this ingress."""

    publishes: ClassVar[tuple[type[Event], ...]] = (
        events.SessionOpened,
        events.MetadataRefused,
        events.OwnerChanged,
        events.TextReceived,
        events.DtmfReceived,
        events.SessionClosed,
    )

    def __init__(
        self,
        worker: Worker,
        inbox: Inbox,
        document: AgentDocument,
        transport: str,
        sink: CallerConnection,
        arrival: Arrival = NO_ARRIVAL,
    ) -> None:
        self.session = inbox.id
        self._worker = worker
        self._inbox = inbox
        self._call = inbox.context
        self._document = document
        self._transport = transport
        self._sink = sink
        self._arrival = arrival
        self._owners = Owners(worker, inbox, document, transport)
        self._ring = AudioBuffer()
        self._at = 0  # samples heard from the caller
        self._speech = RateLimiter(AHEAD_S)
        self._keys = RateLimiter(KEYS_AHEAD_S)
        self._texts = 0
        self._early: list[Event] | None = []  # what was typed before the session opened
        self._started = time.time_ns() // 1_000
        self._state = SessionState()
        self._ended = asyncio.Event()
        self._reason: CloseReason | None = None
        self._detail = ""

    # --- the line: what the transport calls ---------------------------------------------------------------------------

    def audio(self, pcm: bytes) -> None:
        """Keep it, and pass it on once somebody owns stt."""
        if not 0 < len(pcm) <= MAX_HEARD_BYTES or len(pcm) % SAMPLE_BYTES:
            self._call.count("bad_caller_frame")
            return
        if not self._speech.take(max(len(pcm) / SAMPLE_BYTES / CALLER_HZ, LEAST_S), time.monotonic()):
            self._call.count("caller_too_fast")
            return
        at = self._at
        self._at += len(pcm) // SAMPLE_BYTES
        self._ring.append(pcm, at)
        owner = self._owners.of(subjects.STT)
        if owner and not self._reason:
            self._call.send(owner.worker, pcm, CALLER_HZ, at=at)

    def prepend_audio(self, pcm: bytes) -> None:
        """Take audio from before the call, and move the start of the session back by its duration."""
        self._started -= len(pcm) // SAMPLE_BYTES * 1_000_000 // CALLER_HZ
        for start in range(0, len(pcm), MAX_HEARD_BYTES):
            self.audio(pcm[start : start + MAX_HEARD_BYTES])

    def text(self, text: str) -> None:
        """Say it: the llm stage takes it for a turn."""
        text = " ".join(text.split())
        if not 0 < len(text) <= MAX_TEXT or any(character < " " for character in text):
            self._call.count("bad_text")
        elif self._key():
            self._texts += 1
            self._say_when_open(events.TextReceived(text=text, number=self._texts))

    def dtmf(self, digit: str) -> None:
        """Say it."""
        if digit not in DIGITS:
            self._call.count("bad_digit")
        elif self._key():
            self._say_when_open(events.DtmfReceived(digit=digit))

    def hang_up(self, reason: CloseReason = "hangup", detail: str = "") -> None:
        """End the session; the first reason counts."""
        if not self._reason:
            self._reason, self._detail = reason, detail
            self._ended.set()
            self._inbox.close()

    def on_audio(self, frame: Frame) -> None:
        """The agent's voice from egress, for a caller whose socket is here."""
        if frame.flags & Flag.DISCONTINUITY:
            self._sink.clear()
        if frame.pcm:
            self._sink.play(frame.pcm)

    # --- the life -----------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Open, live until somebody ends it, close. `session_closed` is the last event."""
        try:
            await self._open()
            if not self._reason:
                await self._inbox.run(self)
        except* CannotClaim as failures:
            failure = next(_leaves(failures))
            self.hang_up(failure.reason, str(failure))
        finally:
            await self._close()

    async def _open(self) -> None:
        async with asyncio.TaskGroup() as claims:
            for stage in subjects.CLAIMED:
                claims.create_task(self._claim(stage))
        async with asyncio.TaskGroup() as starts:
            for stage in subjects.CLAIMED:
                starts.create_task(self._owners.start(stage, self._state, self._room(stage)))
        await self._until_ready()
        self._say(
            events.SessionOpened(
                owners=self._owners.all(),
                coordinator=self._worker.id,
                transport=self._transport,
                started_us=self._started,
                config=self._document.model_dump(mode="json"),
                origin=self._arrival.origin,
            )
        )
        for refused in self._arrival.refused:
            self._say(refused)

        early, self._early = self._early or [], None
        for event in early:
            self._say(event)

    async def _until_ready(self) -> None:
        """The caller can hear the greeting, or the call is over before that."""
        either = [asyncio.create_task(self._sink.ready()), asyncio.create_task(self._ended.wait())]
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        for waiting in either:
            waiting.cancel()

    async def _claim(self, stage: str) -> None:
        owner = await self._owners.claim(stage)
        if stage == subjects.STT:
            for at, pcm in self._ring.since(0):  # what was said before anybody listened, and nothing comes in between
                self._call.send(owner.worker, pcm, CALLER_HZ, at=at)

    def _room(self, stage: str) -> RoomAccess | None:
        """The way into the room, for who speaks there."""
        access = self._arrival.access
        return access() if access and stage == subjects.EGRESS else None

    async def _close(self) -> None:
        reason = self._reason or "failed"
        await self._owners.close(reason)
        self._say(events.SessionClosed(reason=reason, detail=self._detail))
        self._sink.end("" if reason in ORDERLY else self._detail or f"the call ended: {reason}")
        log.info("session closed", session=self.session, agent=self._document.id, reason=reason, detail=self._detail)

    # --- what the stages say ------------------------------------------------------------------------------------------

    @handles(Event)
    def _fold(self, event: Event) -> None:
        self._state = fold(self._state, event)
        if isinstance(event, events.TranscriptFinal):
            self._ring.forget(event.until_sample - BEFORE_WORDS)
        elif isinstance(event, events.StageFailed):
            stage = events.stage(event)
            reason: CloseReason = "overloaded" if event.reason == "overloaded" else FAILED[stage]
            self.hang_up(reason, event.detail)

    def _key(self) -> bool:
        """Whether the caller may press one more key now: a flood of them would drown the stages that listen."""
        if self._reason:
            return False
        if self._keys.take(KEY_S, time.monotonic()):
            return True
        self._call.count("keys_too_fast")
        return False

    def _say_when_open(self, event: Event) -> None:
        if self._early is None:
            self._say(event)
        else:
            self._early.append(event)

    def _say(self, event: Event) -> None:
        self._state = fold(self._state, self._call.publish(event))

    # --- liveness -----------------------------------------------------------------------------------------------------

    def seen(self, stage: str, worker: str) -> None:
        """A beat of `worker` named this session."""
        self._owners.seen(stage, worker)

    def check(self) -> None:
        """Close when an owner has fallen silent: no call hangs on a dead worker."""
        if stage := self._owners.lost():
            self.hang_up(LOST[stage], f'the worker of stage "{stage}" fell silent')

    def owners(self) -> dict[str, str]:
        return {stage: owner.worker for stage, owner in self._owners.all().items()}

    @property
    def epoch(self) -> int:
        return self._owners.epoch


def _leaves(group: BaseExceptionGroup[CannotClaim]) -> Iterator[CannotClaim]:
    for error in group.exceptions:
        if isinstance(error, CannotClaim):
            yield error
        else:
            yield from _leaves(error)
