"""Ingress in a room: a hidden participant that hears the caller's microphone, keys and texts, and notices the end."""

import asyncio
from collections.abc import Collection
from contextlib import suppress

import structlog
from livekit import rtc

from bus.message import Message
from schemas import control, subjects
from schemas.audio import SAMPLE_BYTES
from schemas.events import CloseReason
from transports.livekit.caller_track import CallerTrack
from transports.livekit.link import until_cut
from transports.livekit.native import reduce_callbacks
from transports.livekit.people import People, is_human, microphone
from transports.livekit.presence import Presence
from transports.livekit.timeline import Timeline
from transports.livekit.worker_protocol import RoomJob
from transports.transport import CallerInput, Refused, RoomHost

JOIN_WITHIN_S = 10.0
LEAVE_WITHIN_S = 2.0
GRACE_S = 10.0  # a page that is reloaded, a train in a tunnel
HEARD_WITHIN_S = 1.0  # after a microphone was opened; one that never sends must not keep the agent from beginning
END_WITHIN_S = 10.0  # ingress closes its stages within 5 s
MAX_STREAM_BYTES = 16 * 1024  # of a text: far above the limit of a turn
CHAT = "lk.chat"

CLOSE_REASONS: dict[int, CloseReason] = {  # why the room disconnected ingress -> why the session ended
    rtc.DisconnectReason.ROOM_DELETED: "room_closed",
    rtc.DisconnectReason.ROOM_CLOSED: "room_closed",
    rtc.DisconnectReason.PARTICIPANT_REMOVED: "room_closed",
    rtc.DisconnectReason.DUPLICATE_IDENTITY: "room_closed",
}

log = structlog.get_logger("room")


async def serve_room(host: RoomHost, job: RoomJob, grace_s: float = GRACE_S) -> Collection[str]:
    """Serve the room of a job until its session is over.

    grace_s: how long the session continues after the last person has left.
    Returns LiveKit's ids of the people who are still in the room. Raises Refused if there was no session or it could
    not continue, OSError if the room cannot be joined.
    """
    room = RoomInput(grace_s)
    caller_input = await host.answer(job.agent, job.session, "livekit", room)  # stages are claimed during the join
    room.begin(caller_input)
    recording = subjects.control(job.session, subjects.INGRESS, "pre_connect_audio")
    subscription = await host.bus.subscribe(recording, lambda message: room.on_recording(host, message))
    try:
        await room.join(job)
        await room.over.wait()
    except OSError:
        caller_input.hang_up("room_unreachable")
        raise
    finally:
        people = room.people
        caller_input.hang_up("terminated")  # has no effect on a session that has ended
        await subscription.unsubscribe()
        await room.leave()
    if room.error:
        raise Refused(room.error)
    return people


class RoomInput:
    """Ingress in one room, and the connection of its session. Egress plays into the room itself."""

    def __init__(self, grace_s: float = GRACE_S) -> None:
        self.over = asyncio.Event()
        self.error = ""  # why the session could not continue
        self._input: CallerInput
        self._grace_s = grace_s
        reduce_callbacks()
        self._room = rtc.Room()
        self._people = People(self._room)
        self._timeline: Timeline
        self._track: CallerTrack
        self._reading: set[asyncio.Task[None]] = set()
        self._presence: Presence
        self._reconnecting = False
        self._watching: list[asyncio.Task[None]] = []

    def begin(self, caller_input: CallerInput) -> None:
        """Take the session; before `join`."""
        self._input = caller_input
        self._presence = Presence(self._people, caller_input, self._grace_s)
        self._timeline = Timeline(caller_input)
        self._track = CallerTrack(self._people, self._timeline)

    @property
    def people(self) -> frozenset[str]:
        """LiveKit's ids of the people in the room."""
        return frozenset(person.sid for person in self._people.present)

    # --- the connection: what ingress calls ---------------------------------------------------------------------------

    def play(self, pcm: bytes) -> None:
        """Do nothing: egress plays into the room."""

    def clear(self) -> None:
        """Do nothing."""

    def refuse(self, message: str) -> None:
        """Do nothing: LiveKit's protocol for rooms has no such message."""

    def end(self, error: str = "") -> None:
        """Note that the session is over."""
        self.error = error
        self.over.set()

    async def ready(self) -> None:
        """Return when a person is in the room and, with an open microphone, can be heard.

        LiveKit does not report a hidden subscriber to a publisher. The agent's state does, from then on.
        """
        await self._presence.entered.wait()
        caller = self._people.caller
        if caller and microphone(caller):
            with suppress(TimeoutError):
                await asyncio.wait_for(self._timeline.sounded.wait(), HEARD_WITHIN_S)
        await self._timeline.opening()

    def on_recording(self, host: RoomHost, message: Message) -> None:
        """Take the caller's pre-connect audio from egress."""
        try:
            pcm = control.decode(message.data, control.PreConnectAudio).pcm
        except control.BadMessage:
            host.count("bad_control")
            return
        if not pcm or len(pcm) % SAMPLE_BYTES:
            host.count("bad_recording")
            pcm = b""  # the session opens without waiting for it
        self._timeline.put_before(pcm)

    # --- joining and leaving ------------------------------------------------------------------------------------------

    async def join(self, job: RoomJob) -> None:
        """Join the room and take its people and tracks. Raises OSError."""
        on = self._room.on
        on("participant_connected", self._on_entered)
        on("participant_active", self._on_entered)
        on("participant_disconnected", self._on_left)
        on("track_published", self._track.on_published)
        on("track_unpublished", lambda _publication, _person: self._track.update())
        on("track_subscribed", lambda _track, publication, _person: self._track.on_published(publication))
        on("sip_dtmf_received", self._on_key)
        on("reconnecting", self._on_reconnecting)
        on("reconnected", self._on_reconnected)
        on("disconnected", self._on_disconnected)
        self._room.register_text_stream_handler(CHAT, self._on_text)
        options = rtc.RoomOptions(
            single_peer_connection=False,  # with one connection a first track takes 150 ms longer to arrive
            data_stream=rtc.DataStreamOptions(max_payload_byte_length=MAX_STREAM_BYTES),
        )
        try:
            await asyncio.wait_for(self._room.connect(job.url, job.token, options), JOIN_WITHIN_S)
        except (rtc.ConnectError, TimeoutError) as error:
            raise OSError(f"cannot join room {job.room!r} at {job.url}: {_cause(error, job)}") from None
        self._watching = [asyncio.create_task(self._timeline.fill_gaps()), asyncio.create_task(self._watch_link())]
        for person in self._room.remote_participants.values():
            for publication in person.track_publications.values():
                self._track.on_published(publication)
        self._update()

    async def leave(self) -> None:
        """Leave the room, whether or not the server still answers."""
        self._presence.close()
        try:
            await asyncio.wait_for(self.over.wait(), END_WITHIN_S)
            working = [*self._watching, *self._reading]
            for task in working:
                task.cancel()
            working += self._track.close()
            if working:
                await asyncio.wait(working, timeout=LEAVE_WITHIN_S)
            await asyncio.wait_for(self._room.disconnect(), LEAVE_WITHIN_S)
        except TimeoutError:
            log.warning("left a room without closing the connection", session=self._input.session)

    # --- people -------------------------------------------------------------------------------------------------------

    def _on_entered(self, _person: rtc.RemoteParticipant) -> None:
        self._update()

    def _on_left(self, person: rtc.RemoteParticipant) -> None:
        if person.kind == rtc.ParticipantKind.PARTICIPANT_KIND_SIP and not self._people.present:
            self._input.hang_up("hangup")  # a telephone that has hung up does not return to this room
        self._update()

    def _update(self) -> None:
        """Note who is in the room, and choose the caller's track again."""
        if not self._reconnecting:  # the SDK then reports an empty room
            self._presence.update()
            self._track.update()

    # --- keys and texts -----------------------------------------------------------------------------------------------

    def _on_key(self, key: rtc.SipDTMF) -> None:
        if key.participant is not None and is_human(key.participant):
            self._input.dtmf(key.digit)

    def _on_text(self, reader: rtc.TextStreamReader, identity: str) -> None:
        person = self._room.remote_participants.get(identity)
        if person is None or not is_human(person):
            reader.close()
            return
        reading = asyncio.create_task(self._read(reader))
        self._reading.add(reading)
        reading.add_done_callback(self._reading.discard)

    async def _read(self, reader: rtc.TextStreamReader) -> None:
        try:
            text = await reader.read_all()
        except rtc.StreamError:  # too long, or aborted
            log.info("a text was not received whole", session=self._input.session)
        else:
            self._input.text(text)

    # --- the link to the server ---------------------------------------------------------------------------------------

    async def _watch_link(self) -> None:
        await until_cut(self._room)
        self._input.hang_up("room_lost")

    def _on_reconnecting(self) -> None:
        self._reconnecting = True

    def _on_reconnected(self) -> None:
        self._reconnecting = False
        self._update()

    def _on_disconnected(self, reason: rtc.DisconnectReason.ValueType) -> None:
        self._input.hang_up(CLOSE_REASONS.get(reason, "room_lost"))  # has no effect after `leave`


def _cause(error: Exception, job: RoomJob) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer within {JOIN_WITHIN_S:.0f} s"
    return str(error).replace(job.token, "…")  # the server repeats the token
