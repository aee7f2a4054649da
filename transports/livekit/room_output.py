"""Egress in a room: the agent, with one microphone track, its state, and captions of both sides.

Frames go to the SDK in larger pieces while enough of them wait there, because every piece costs all rooms of the
process something. The first frames after silence go at once.
"""

import asyncio
import importlib
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import structlog
from livekit import rtc
from livekit.rtc.participant import PublishTrackError

from schemas.audio import AGENT_HZ, SAMPLE_BYTES
from schemas.events import Event
from transports.livekit.captions import Captions
from transports.livekit.link import until_cut
from transports.livekit.native import reduce_callbacks
from transports.livekit.people import People
from transports.livekit.preconnect import TOPIC
from transports.transport import OutputSession, Refused

JOIN_WITHIN_S = 10.0
LEAVE_WITHIN_S = 1.5  # a stage has 2 s to flush
SUBSCRIBED_WITHIN_S = 1.0  # until a person subscribes to the track, before the first frame; an empty room must not wait
REFILL_S = 0.04  # audio left in the SDK when the next piece follows: as much as a busy loop may be late
OPTIONS = rtc.RoomOptions(
    auto_subscribe=False,
    single_peer_connection=False,  # with one connection the caller hears the agent 70 ms later
)
CLOSED = (rtc.DisconnectReason.ROOM_DELETED, rtc.DisconnectReason.ROOM_CLOSED)  # ingress notices, and ends the session
QUEUE_MS = 1_000  # the SDK's own bound; egress is at most 100 ms ahead

log = structlog.get_logger("room")


@asynccontextmanager
async def open_room_output(session: OutputSession) -> AsyncIterator["RoomOutput"]:
    """Join the room of `session.room` as its agent, with a published track. Raises Refused.

    If the agent is disconnected later, the session fails in this stage.
    """
    output = RoomOutput(session)
    try:
        await output.join()
        yield output
    finally:
        await output.leave()


class RoomOutput:
    """The caller output of one room."""

    def __init__(self, session: OutputSession) -> None:
        self._session = session
        reduce_callbacks()
        self._room = rtc.Room()
        self._people = People(self._room)
        self._source = rtc.AudioSource(AGENT_HZ, 1, queue_size_ms=QUEUE_MS)
        self._captions: Captions
        self._waiting: deque[bytes] = deque()  # frames that the SDK has not yet
        self._wake = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._recording: asyncio.Task[None] | None = None
        self._leaving = False

    # --- what egress calls --------------------------------------------------------------------------------------------

    def play(self, pcm: bytes, turn: int, segment: int, flags: int, at: int) -> None:
        """Play 20 ms of PCM16 mono at 24 kHz."""
        self._waiting.append(pcm)
        self._wake.set()
        self._captions.sounds(turn, segment)

    def clear(self) -> None:
        """Drop all frames that have not been played, those in the SDK included."""
        self._waiting.clear()
        self._source.clear_queue()

    def show(self, event: Event) -> None:
        """Show an event of the session as a caption or as the agent's state."""
        self._captions.show(event)

    # --- the room -----------------------------------------------------------------------------------------------------

    async def join(self) -> None:
        """Join the room and publish the track. Raises Refused."""
        access = self._session.room
        if access is None:
            raise Refused("cannot enter the room: ingress gave this session no access to it.")
        self._room.on("disconnected", self._on_disconnected)
        self._room.register_byte_stream_handler(TOPIC, self._on_recording)
        try:
            async with asyncio.timeout(JOIN_WITHIN_S):
                await self._room.connect(access.url, access.token, OPTIONS)
                me = self._room.local_participant
                track = rtc.LocalAudioTrack.create_audio_track("agent", self._source)
                microphone = rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_MICROPHONE)
                published = await me.publish_track(track, microphone)
        except (rtc.ConnectError, PublishTrackError) as error:
            cause = error.message.replace(access.token, "…")  # the server repeats the token
            raise Refused(f"the agent cannot enter the room: {cause}") from None
        except TimeoutError:
            raise Refused(f"the agent cannot enter the room: no answer within {JOIN_WITHIN_S:.0f} s") from None
        self._captions = Captions(me, self._people, published.sid)
        working = (self._send(published), self._captions.run(), self._watch_link())
        self._tasks = [asyncio.create_task(work) for work in working]
        for task in self._tasks:
            task.add_done_callback(self._on_done)

    async def leave(self) -> None:
        """Send the last captions and leave the room, whether or not the server still answers."""
        self._leaving = True
        with suppress(TimeoutError):
            async with asyncio.timeout(LEAVE_WITHIN_S):
                if self._tasks:
                    await self._captions.finish()
                await self._room.disconnect()
        for task in (*self._tasks, self._recording):
            if task:
                task.cancel()
        await self._source.aclose()

    def _on_recording(self, reader: rtc.ByteStreamReader, identity: str) -> None:
        """Take one recording a session, from the caller only."""
        caller = self._people.caller
        if caller and caller.identity == identity and self._recording is None:
            self._recording = asyncio.create_task(self._forward(reader))
            self._recording.add_done_callback(self._on_done)
        else:
            reader.close()

    async def _forward(self, reader: rtc.ByteStreamReader) -> None:
        """Send ingress the pre-connect audio, decoded; empty if it cannot be decoded."""
        await asyncio.to_thread(importlib.import_module, "transports.livekit.recording")  # without holding up the loop
        from transports.livekit.recording import BadRecording, read

        pcm = b""
        try:
            pcm = await read(reader)
        except BadRecording as bad:
            log.warning("pre-connect audio is lost", cause=str(bad))
        self._session.send_pre_connect_audio(pcm)

    def _on_disconnected(self, reason: rtc.DisconnectReason.ValueType) -> None:
        if not self._leaving and reason not in CLOSED:
            self._session.fail(Refused(f"the agent is out of the room: {rtc.DisconnectReason.Name(reason).lower()}"))

    async def _watch_link(self) -> None:
        await until_cut(self._room)
        raise Refused("the agent is cut off from its room")

    def _on_done(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()):
            self._session.fail(error)

    async def _send(self, published: rtc.LocalTrackPublication) -> None:
        await self._wake.wait()
        try:  # the caller then hears the first word of a greeting
            await asyncio.wait_for(published.wait_for_subscription(), SUBSCRIBED_WITHIN_S)
        except TimeoutError:
            self._waiting.clear()  # their time is over, and nobody was there to hear them
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._waiting:
                ahead_s = self._source.queued_duration
                if ahead_s > REFILL_S:
                    await asyncio.sleep(ahead_s - REFILL_S)
                pcm = b"".join(self._waiting)
                self._waiting.clear()
                if pcm:  # none after a clear
                    await self._source.capture_frame(rtc.AudioFrame(pcm, AGENT_HZ, 1, len(pcm) // SAMPLE_BYTES))
