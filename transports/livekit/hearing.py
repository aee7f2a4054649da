"""Ingress in a room: hidden, it hears the caller's microphone and nothing else, and knows when the call is over.

The server sends it every track as soon as it joins, because asking for one later costs the caller's first third of a
second; what is not the caller's microphone is refused at once. While the caller is muted, silence comes from the SDK.
"""

import asyncio
from contextlib import suppress

import structlog
from livekit import api, rtc

from schemas.audio import CALLER_HZ, FRAME_MS
from transports.door import Answer, Line, Refused
from transports.livekit.link import until_cut
from transports.livekit.native import lighten
from transports.livekit.people import People, is_human, is_microphone, microphone
from transports.livekit.timeline import Timeline
from transports.rooms import Job

JOIN_WITHIN_S = 10.0
LEAVE_WITHIN_S = 2.0
GRACE_S = 10.0  # a page that is loaded anew, a train in a tunnel
NOBODY_FOR_S = 300.0  # what the server itself grants an empty room
HEARD_WITHIN_S = 1.0  # after who opened a microphone; one that never sends must not keep the agent from beginning
END_WITHIN_S = 10.0  # ingress closes its stages within 5 s
ASKED_EVERY_S = 1.0  # a track that is asked for comes within a third of this
MAX_WAITING_FRAMES = 250  # 5 s that a busy loop may be late; the oldest give way
MAX_STREAM_BYTES = 16 * 1024  # of a text: far above what a turn takes
CHAT = "lk.chat"
RECORDED: int = api.AudioTrackFeature.TF_PRECONNECT_BUFFER  # what came before this track will be sent

GONE = {  # why the room let us go -> why the session ended
    rtc.DisconnectReason.ROOM_DELETED: "room_closed",
    rtc.DisconnectReason.ROOM_CLOSED: "room_closed",
    rtc.DisconnectReason.PARTICIPANT_REMOVED: "room_closed",
    rtc.DisconnectReason.DUPLICATE_IDENTITY: "room_closed",
}

log = structlog.get_logger("room")


async def attend(answer: Answer, job: Job, grace_s: float = GRACE_S) -> None:
    """Serve the room of a job until its session is over.

    Raises Refused if there was none, or if it could not go on; OSError if the room cannot be joined.
    """
    guest = Guest(grace_s)
    line = await answer(job.agent, job.session, "livekit", guest)  # stages are claimed while the room is joined
    guest.begin(line)
    try:
        await guest.join(job)
        await guest.over.wait()
    except OSError:
        line.hang_up("room_unreachable")
        raise
    finally:
        line.hang_up("terminated")  # has no effect on a session that ended by itself
        await guest.leave()
    if guest.error:
        raise Refused(guest.error)


class Guest:
    """One room as ingress is in it; for the coordinator, the sink of the call: its voice leaves by egress."""

    def __init__(self, grace_s: float = GRACE_S) -> None:
        self.line: Line
        self.over = asyncio.Event()
        self.error = ""  # why the call could not go on
        self._grace_s = grace_s
        lighten()
        self._room = rtc.Room()
        self._people = People(self._room)
        self._timeline: Timeline
        self._heard: rtc.RemoteTrack | None = None  # the microphone that is heard now
        self._hearing: asyncio.Task[None] | None = None
        self._refused: set[str] = set()  # tracks that the server need not send
        self._reading: set[asyncio.Task[None]] = set()
        self._there = asyncio.Event()
        self._alone: asyncio.TimerHandle | None = None
        self._away = False  # while the SDK connects anew
        self._watching: list[asyncio.Task[None]] = []

    def begin(self, line: Line) -> None:
        """The session is there; before anything else."""
        self.line = line
        self._timeline = Timeline(line)

    # --- the sink: what ingress calls ---------------------------------------------------------------------------------

    def play(self, pcm: bytes) -> None:
        """Nothing comes: egress is in the room itself."""

    def clear(self) -> None:
        """Nothing to clear."""

    def end(self, error: str = "") -> None:
        """The call is over."""
        self.error = error
        self.over.set()

    async def ready(self) -> None:
        """Return when somebody is in the room to hear the greeting, and is heard.

        The server tells nobody that a hidden participant listens; the agent's state does, from now on.
        """
        await self._there.wait()
        caller = self._people.caller
        if caller and microphone(caller):
            with suppress(TimeoutError):
                await asyncio.wait_for(self._timeline.sounded.wait(), HEARD_WITHIN_S)
        await self._timeline.opening()

    def said_before(self, pcm: bytes) -> None:
        """What the caller's client recorded before anybody listened."""
        self._timeline.put_before(pcm)

    # --- joining and leaving ------------------------------------------------------------------------------------------

    async def join(self, job: Job) -> None:
        """Be in the room, with everyone who is there looked at. Raises OSError."""
        on = self._room.on
        on("participant_connected", self._look)
        on("participant_active", self._look)
        on("participant_disconnected", self._miss)
        on("track_published", self._published)
        on("track_unpublished", lambda _publication, _person: self._listen())
        on("track_subscribed", lambda _track, publication, _person: self._published(publication))
        on("sip_dtmf_received", self._keyed)
        on("reconnecting", self._reconnecting)
        on("reconnected", self._reconnected)
        on("disconnected", self._gone)
        self._room.register_text_stream_handler(CHAT, self._typed)
        options = rtc.RoomOptions(
            single_peer_connection=False,  # with one, a first track takes 150 ms longer to arrive
            data_stream=rtc.DataStreamOptions(max_payload_byte_length=MAX_STREAM_BYTES),
        )
        try:
            await asyncio.wait_for(self._room.connect(job.url, job.token, options), JOIN_WITHIN_S)
        except (rtc.ConnectError, TimeoutError) as error:
            raise OSError(f"room {job.room!r} at {job.url} cannot be joined: {_why(error, job)}") from None
        self._watching = [asyncio.create_task(self._timeline.keep()), asyncio.create_task(self._keep_link())]
        for person in self._room.remote_participants.values():
            for publication in person.track_publications.values():
                self._published(publication)
        self._look()

    async def leave(self) -> None:
        """Be out of the room, whether or not the server still answers."""
        if self._alone:
            self._alone.cancel()
        try:
            await asyncio.wait_for(self.over.wait(), END_WITHIN_S)
            working = [task for task in (*self._watching, self._hearing, *self._reading) if task]
            for task in working:
                task.cancel()
            if working:
                await asyncio.wait(working, timeout=LEAVE_WITHIN_S)
            await asyncio.wait_for(self._room.disconnect(), LEAVE_WITHIN_S)
        except TimeoutError:
            log.warning("left a room without a goodbye", session=self.line.session)

    # --- people -------------------------------------------------------------------------------------------------------

    def _look(self, _person: rtc.RemoteParticipant | None = None) -> None:
        """Is anybody there?"""
        if self._away:  # the SDK forgets everybody meanwhile
            return
        if self._people.present:
            self._there.set()
            if self._alone:
                self._alone.cancel()
                self._alone = None
        elif not self._alone:
            patience_s = self._grace_s if self._there.is_set() else NOBODY_FOR_S
            self._alone = asyncio.get_running_loop().call_later(patience_s, self._abandon)
        self._listen()

    def _miss(self, person: rtc.RemoteParticipant) -> None:
        if person.kind == rtc.ParticipantKind.PARTICIPANT_KIND_SIP and not self._people.present:
            self.line.hang_up("hangup")  # who hung up a telephone does not come back to this room
        self._look()

    def _abandon(self) -> None:
        self.line.hang_up("hangup" if self._there.is_set() else "no_caller")

    # --- the microphone -----------------------------------------------------------------------------------------------

    def _published(self, publication: rtc.RemoteTrackPublication, _person: rtc.RemoteParticipant | None = None) -> None:
        """Keep of what the server sends the caller's microphone only."""
        self._listen()
        caller = self._people.caller
        wanted = caller is not None and publication.sid in caller.track_publications and is_microphone(publication)
        if not wanted:
            self._refused.add(publication.sid)
            publication.set_subscribed(False)

    def _listen(self) -> None:
        """Hear the caller's newest microphone."""
        caller = self._people.caller
        publication = microphone(caller) if caller else None
        if publication and publication.sid in self._refused:  # that of somebody who became the caller only now
            self._refused.discard(publication.sid)
            self._ask(publication)
        if publication and RECORDED in publication.audio_features:
            self._timeline.wait_for_recording()
        track = publication.track if publication else None
        if track is not self._heard:
            self._heard = track
            if self._hearing:
                self._hearing.cancel()
            self._hearing = asyncio.create_task(self._hear(track)) if track else None

    def _ask(self, publication: rtc.RemoteTrackPublication, again: bool = False) -> None:
        """Have a track sent that was refused before. The server may overlook it, so it is asked until it is sent."""
        caller = self._people.caller
        if publication.track or self.over.is_set() or not caller or microphone(caller) is not publication:
            return
        if again:
            publication.set_subscribed(False)
        publication.set_subscribed(True)
        asyncio.get_running_loop().call_later(ASKED_EVERY_S, self._ask, publication, True)

    async def _hear(self, track: rtc.RemoteTrack) -> None:
        stream = rtc.AudioStream(
            track, sample_rate=CALLER_HZ, num_channels=1, frame_size_ms=FRAME_MS, capacity=MAX_WAITING_FRAMES
        )
        self._timeline.be_silent()  # up to here
        try:
            async for event in stream:
                self._timeline.hear(bytes(event.frame.data))
        finally:
            await stream.aclose()

    # --- what comes beside sound --------------------------------------------------------------------------------------

    def _keyed(self, key: rtc.SipDTMF) -> None:
        if key.participant is not None and is_human(key.participant):
            self.line.dtmf(key.digit)

    def _typed(self, reader: rtc.TextStreamReader, identity: str) -> None:
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
        except rtc.StreamError:  # too long, or broken off
            log.info("a text was not received whole", session=self.line.session)
        else:
            self.line.text(text)

    # --- the connection -----------------------------------------------------------------------------------------------

    async def _keep_link(self) -> None:
        await until_cut(self._room)
        self.line.hang_up("room_lost")

    def _reconnecting(self) -> None:
        self._away = True

    def _reconnected(self) -> None:
        self._away = False
        self._look()

    def _gone(self, reason: rtc.DisconnectReason.ValueType) -> None:
        self.line.hang_up(GONE.get(reason, "room_lost"))  # has no effect on one that is over: we left


def _why(error: Exception, job: Job) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer within {JOIN_WITHIN_S:.0f} s"
    return str(error).replace(job.token, "…")  # the server repeats it
