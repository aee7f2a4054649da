"""Coordinates one session from the first packet of the caller to `session_closed`.

The coordinator keeps the caller's audio in the replay buffer from the first frame, folds every event into the snapshot
that a new owner starts from, and closes the stages. `Coordinator` is the stage `ingress` on the bus.
"""

import asyncio
from typing import ClassVar

import structlog

from schemas import events, subjects
from schemas.agent import AgentDocument
from schemas.audio import AGENT_HZ, CALLER_HZ, SAMPLE_BYTES, samples_to_ms
from schemas.control import Playhead, RoomAccess
from schemas.events import FAILED, CloseReason, Event, Owner
from schemas.media import Flag, Frame
from session import recoverable
from session.audio_buffer import AudioBuffer
from session.state import SessionState, fold
from stages.ingress.claims import Claims
from stages.ingress.clock_offsets import ClockOffsets
from stages.ingress.opening import Opening
from stages.runtime.inbox import Inbox
from stages.runtime.stage import handles
from stages.runtime.worker import Worker
from transports.transport import Arrival, CallerConnection

ORDERLY = ("hangup", "shutdown", "room_closed")  # reasons that the caller is not told as an error
KEPT_BEFORE = CALLER_HZ  # samples kept before those that became words: a recognizer needs some audio before speech
UNREPORTED = CALLER_HZ * 3 // 2  # before a heartbeat of stt: speech in there may not have been published yet

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
        connection: CallerConnection,
        arrival: Arrival,
        answers_to: str,
        offsets: ClockOffsets,
    ) -> None:
        """answers_to: subject prefix of answers for `claims.on_answer`. offsets: shared by all sessions."""
        self.session = inbox.id
        self.state = SessionState()
        self.claims = Claims(worker, inbox, self, answers_to, offsets, transport)
        self._worker = worker
        self._inbox = inbox
        self._context = inbox.context
        self._document = document
        self._transport = transport
        self._connection = connection
        self._arrival = arrival
        self._offsets = offsets
        self._opening = Opening(self.claims, connection, self._publish, offsets)
        self._replay_buffer = AudioBuffer()
        self._received = 0  # samples of the caller's audio
        self._received_by_stt = 0  # those at the last heartbeat of its owner
        self._forwarded: Playhead | None = None
        self._texts = 0
        self._ended = asyncio.Event()
        self._reason: CloseReason | None = None
        self._detail = ""

    # --- from the caller (caller_input.py) ----------------------------------------------------------------------------

    def receive_audio(self, pcm: bytes) -> None:
        """Keep audio in the replay buffer and send it to the owner of stt, if there is one already."""
        at = self._received
        self._received += len(pcm) // SAMPLE_BYTES
        self._replay_buffer.append(pcm, at)
        owner = self.claims.owners.of(subjects.STT)
        if owner and not self._reason:
            self._context.send(owner.worker, pcm, CALLER_HZ, at=at)

    def receive_text(self, text: str) -> None:
        """Publish a typed text; llm answers it as a turn."""
        if not self._reason:
            self._texts += 1
            self._opening.publish_when_open(events.TextReceived(text=text, number=self._texts))

    def receive_digit(self, digit: str) -> None:
        """Publish a key."""
        if not self._reason:
            self._opening.publish_when_open(events.DtmfReceived(digit=digit))

    def begin_earlier(self, samples: int) -> None:
        """Move the time of sample 0 back."""
        self._opening.begin_earlier(samples)

    def hang_up(self, reason: CloseReason, detail: str = "") -> None:
        """End the session; the first reason counts."""
        if not self._reason:
            self._reason, self._detail = reason, detail
            self._ended.set()
            self._inbox.close()

    def count(self, reason: str) -> None:
        """Count something refused."""
        self._context.count(reason)

    # --- from the stages ----------------------------------------------------------------------------------------------

    def on_audio(self, frame: Frame) -> None:
        """Give the caller the agent's audio, in a session whose socket is in ingress."""
        if frame.flags & Flag.DISCONTINUITY:
            self._forwarded = None  # egress publishes the position that was reached
            self._connection.clear()
        if frame.pcm:
            self._forwarded = Playhead(frame.turn, frame.segment, samples_to_ms(frame.at, AGENT_HZ))
            self._connection.play(frame.pcm)

    @handles(Event)
    def _fold(self, event: Event) -> None:
        self.state = fold(self.state, event)
        if isinstance(event, events.TranscriptFinal):
            self._replay_buffer.forget(recoverable.stt(self.state).watermark - KEPT_BEFORE)
        elif isinstance(event, events.StageFailed):
            stage = events.stage(event)
            reason: CloseReason = "overloaded" if event.reason == "overloaded" else FAILED[stage]
            self.hang_up(reason, event.detail)

    # --- the life -----------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Open the session, serve it until it ends, close it. `session_closed` is the last event."""
        try:
            await self._open()
            if not self._reason:
                await self._inbox.run(self)
        finally:
            await self._close()

    async def _open(self) -> None:
        """Return when the session is open, or at once when it ends before that."""
        arguments = self._document, self._worker.id, self._transport, self._arrival
        opening = asyncio.create_task(self._opening.run(*arguments))
        ended = asyncio.create_task(self._ended.wait())
        try:
            done, _ = await asyncio.wait((opening, ended), return_when=asyncio.FIRST_COMPLETED)
        finally:
            opening.cancel()
            ended.cancel()
        if opening in done:
            opening.result()  # raises what the opening raised

    async def _close(self) -> None:
        reason = self._reason or "failed"
        self._reason = reason
        error = "" if reason in ORDERLY else self._detail or f"the call ended: {reason}"
        self._connection.end(error)  # before the stages flush, which takes up to 2 s
        await self.claims.close(reason)
        self._publish(events.SessionClosed(reason=reason, detail=self._detail))
        log.info("session closed", session=self.session, agent=self._document.id, reason=reason, detail=self._detail)

    def _publish(self, event: Event) -> None:
        self.state = fold(self.state, self._context.publish(event))

    # --- for the claims (claims.py) -----------------------------------------------------------------------------------

    def access(self, stage: str) -> RoomAccess | None:
        """Give egress a new token for the caller's room."""
        return self._arrival.access() if self._arrival.access and stage == subjects.EGRESS else None

    @property
    def forwarded(self) -> Playhead | None:
        """The position behind the last frame that was passed to the caller's socket."""
        return self._forwarded

    @property
    def replay_from(self) -> int:
        """The first sample that a new owner of stt needs: it recognizes an open utterance from its beginning."""
        return recoverable.replay_from(self.state, self._received_by_stt - UNREPORTED)

    def note_stt(self) -> None:
        """Note that the owner of stt has received the caller's audio so far."""
        self._received_by_stt = self._received

    def replay(self, owner: Owner) -> None:
        """Send a new owner of stt the audio that came before."""
        first = self.replay_from
        for at, pcm in self._replay_buffer.since(first):  # plain calls: no frame of the caller comes in between
            self._context.send(owner.worker, pcm, CALLER_HZ, at=at)

    def change_owner(self, stage: str, owner: Owner) -> None:
        """Publish that a stage has a new owner. `cut` is the last event of the old one in our snapshot."""
        playhead = self.claims.playhead if stage == subjects.EGRESS else None
        changed = events.OwnerChanged(
            turn=playhead.turn if playhead else 0,
            heard_ms=playhead.heard_ms if playhead else 0,
            stage=stage,
            worker=owner.worker,
            owner_epoch=owner.epoch,
            cut=self.state.after.get(stage),
            clock_offset_us=self._offsets.of(owner.worker),
        )
        self._publish(changed)
