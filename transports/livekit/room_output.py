"""Egress in a room: the agent that people see there, with one track, its state, and the words of both sides.

Frames go to the SDK in larger pieces while enough of them waits there, because every piece costs all rooms of the
process something; the first ones after silence go at once.
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
from transports.ingress_output import Call
from transports.livekit.captions import Captions
from transports.livekit.link import until_cut
from transports.livekit.native import lighten
from transports.livekit.people import People
from transports.livekit.preconnect import TOPIC
from transports.transport import Refused

JOIN_WITHIN_S = 10.0
LEAVE_WITHIN_S = 1.5  # a stage has 2 s to flush
SUBSCRIBED_WITHIN_S = 1.0  # somebody to our track, before the first frame; who never listens must not hold it up
REFILL_S = 0.04  # left in the SDK when the next piece follows: what a busy loop may be late
OPTIONS = rtc.RoomOptions(
    auto_subscribe=False,
    single_peer_connection=False,  # with one, the caller hears the agent 70 ms later
)
OVER = (rtc.DisconnectReason.ROOM_DELETED, rtc.DisconnectReason.ROOM_CLOSED)  # for ingress as well, which ends the call
QUEUE_MS = 1_000  # the SDK's own bound; egress is never more than 100 ms ahead

log = structlog.get_logger("room")


@asynccontextmanager
async def agent(call: Call) -> AsyncIterator["Agent"]:
    """The agent in the room that `call.room` leads to, its track published. Raises Refused.

    When the room lets it go, the call fails in this stage.
    """
    speaking = Agent(call)
    try:
        await speaking.join()
        yield speaking
    finally:
        await speaking.leave()


class Agent:
    """The speaking half of one room."""

    def __init__(self, call: Call) -> None:
        self._call = call
        lighten()
        self._room = rtc.Room()
        self._people = People(self._room)
        self._source = rtc.AudioSource(AGENT_HZ, 1, queue_size_ms=QUEUE_MS)
        self._captions: Captions
        self._waiting: deque[bytes] = deque()  # frames that the SDK does not have yet
        self._wake = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._recording: asyncio.Task[None] | None = None
        self._leaving = False

    # --- what egress calls --------------------------------------------------------------------------------------------

    def play(self, pcm: bytes, turn: int, segment: int, flags: int) -> None:
        """Play 20 ms."""
        self._waiting.append(pcm)
        self._wake.set()
        self._captions.sound(turn, segment)

    def clear(self) -> None:
        """Fall silent now."""
        self._waiting.clear()
        self._source.clear_queue()

    def tell(self, event: Event) -> None:
        """Show it in the room, if it is something to be shown."""
        self._captions.tell(event)

    # --- the room -----------------------------------------------------------------------------------------------------

    async def join(self) -> None:
        """Enter and publish. Raises Refused."""
        access = self._call.room
        if access is None:
            raise Refused("ingress gave this session no access to its room")
        self._room.on("disconnected", self._gone)
        self._room.register_byte_stream_handler(TOPIC, self._recorded)
        try:
            async with asyncio.timeout(JOIN_WITHIN_S):
                await self._room.connect(access.url, access.token, OPTIONS)
                me = self._room.local_participant
                track = rtc.LocalAudioTrack.create_audio_track("agent", self._source)
                microphone = rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_MICROPHONE)
                published = await me.publish_track(track, microphone)
        except (rtc.ConnectError, PublishTrackError) as error:
            why = error.message.replace(access.token, "…")  # the server repeats it
            raise Refused(f"the agent cannot enter the room: {why}") from None
        except TimeoutError:
            raise Refused(f"the agent cannot enter the room: no answer within {JOIN_WITHIN_S:.0f} s") from None
        self._captions = Captions(me, self._people, published.sid)
        working = (self._send(published), self._captions.run(), self._keep_link())
        self._tasks = [asyncio.create_task(work) for work in working]
        for task in self._tasks:
            task.add_done_callback(self._ended)

    async def leave(self) -> None:
        """Say the last words, and be out of the room whether or not the server still answers."""
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

    def _recorded(self, reader: rtc.ByteStreamReader, identity: str) -> None:
        caller = self._people.caller
        if caller and caller.identity == identity and self._recording is None:
            self._recording = asyncio.create_task(self._hand_back(reader))
            self._recording.add_done_callback(self._ended)
        else:
            reader.close()

    async def _hand_back(self, reader: rtc.ByteStreamReader) -> None:
        await asyncio.to_thread(importlib.import_module, "transports.livekit.recording")  # the others play meanwhile
        from transports.livekit.recording import BadRecording, read

        pcm = b""
        try:
            pcm = await read(reader)
        except BadRecording as bad:
            log.warning("what the caller said before the call is lost", why=str(bad))
        self._call.send_pre_connect_audio(pcm)

    def _gone(self, reason: rtc.DisconnectReason.ValueType) -> None:
        if not self._leaving and reason not in OVER:
            self._call.fail(Refused(f"the agent is out of the room: {rtc.DisconnectReason.Name(reason).lower()}"))

    async def _keep_link(self) -> None:
        await until_cut(self._room)
        raise Refused("the agent is cut off from its room")

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()):
            self._call.fail(error)

    async def _send(self, published: rtc.LocalTrackPublication) -> None:
        await self._wake.wait()
        try:  # nobody misses the first word of a greeting
            await asyncio.wait_for(published.wait_for_subscription(), SUBSCRIBED_WITHIN_S)
        except TimeoutError:
            self._waiting.clear()  # its time is over, and nobody was there
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
