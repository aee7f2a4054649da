"""Ingress in a room: hidden, it hears the caller's microphone, keys and texts, and knows when the call is over."""

import asyncio
from contextlib import suppress

import structlog
from livekit import rtc

from schemas.events import CloseReason
from transports.livekit.caller_track import Ear
from transports.livekit.identities import Job
from transports.livekit.link import until_cut
from transports.livekit.native import lighten
from transports.livekit.people import People, is_human, microphone
from transports.livekit.timeline import Timeline
from transports.transport import Answer, CallerInput, Refused

JOIN_WITHIN_S = 10.0
LEAVE_WITHIN_S = 2.0
GRACE_S = 10.0  # a page that is loaded anew, a train in a tunnel
NOBODY_FOR_S = 300.0  # what the server itself grants an empty room
HEARD_WITHIN_S = 1.0  # after who opened a microphone; one that never sends must not keep the agent from beginning
END_WITHIN_S = 10.0  # ingress closes its stages within 5 s
MAX_STREAM_BYTES = 16 * 1024  # of a text: far above what a turn takes
CHAT = "lk.chat"

GONE: dict[int, CloseReason] = {  # why the room let us go -> why the session ended
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
        self.line: CallerInput
        self.over = asyncio.Event()
        self.error = ""  # why the call could not go on
        self._grace_s = grace_s
        lighten()
        self._room = rtc.Room()
        self._people = People(self._room)
        self._timeline: Timeline
        self._ear: Ear
        self._reading: set[asyncio.Task[None]] = set()
        self._there = asyncio.Event()
        self._alone: asyncio.TimerHandle | None = None
        self._away = False  # while the SDK connects anew
        self._watching: list[asyncio.Task[None]] = []

    def begin(self, line: CallerInput) -> None:
        """The session is there; before anything else."""
        self.line = line
        self._timeline = Timeline(line)
        self._ear = Ear(self._people, self._timeline)

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

    def pre_connect_audio(self, pcm: bytes) -> None:
        """What the caller's client recorded before anybody listened."""
        self._timeline.put_before(pcm)

    # --- joining and leaving ------------------------------------------------------------------------------------------

    async def join(self, job: Job) -> None:
        """Be in the room, with everyone who is there looked at. Raises OSError."""
        on = self._room.on
        on("participant_connected", self._look)
        on("participant_active", self._look)
        on("participant_disconnected", self._miss)
        on("track_published", self._ear.published)
        on("track_unpublished", lambda _publication, _person: self._ear.listen())
        on("track_subscribed", lambda _track, publication, _person: self._ear.published(publication))
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
                self._ear.published(publication)
        self._look()

    async def leave(self) -> None:
        """Be out of the room, whether or not the server still answers."""
        if self._alone:
            self._alone.cancel()
        try:
            await asyncio.wait_for(self.over.wait(), END_WITHIN_S)
            working = [*self._watching, *self._reading]
            for task in working:
                task.cancel()
            working += self._ear.close()
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
        self._ear.listen()

    def _miss(self, person: rtc.RemoteParticipant) -> None:
        if person.kind == rtc.ParticipantKind.PARTICIPANT_KIND_SIP and not self._people.present:
            self.line.hang_up("hangup")  # who hung up a telephone does not come back to this room
        self._look()

    def _abandon(self) -> None:
        self.line.hang_up("hangup" if self._there.is_set() else "no_caller")

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
