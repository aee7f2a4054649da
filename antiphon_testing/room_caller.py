"""A caller in a LiveKit room, made with LiveKit's SDK alone: a microphone, the agent's track, captions and states.

async with enter_room(url, token(room="r")) as caller:
    caller.say(pcm)
    await caller.until(lambda: "hello" in caller.shown("agent"))
"""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from livekit import api, rtc
from numpy.typing import NDArray

from antiphon_testing.room_server import KEY, SECRET
from schemas.audio import AGENT_HZ, CALLER_HZ, FRAME_MS

WITHIN_S = 30.0
LOOK_EVERY_S = 0.02
ASK_EVERY_S = 0.005
CONNECTED = 2  # of WebRTC's DtlsTransportState
FRAME = CALLER_HZ * FRAME_MS // 1000
Kind: TypeAlias = rtc.ParticipantKind.ValueType
AGENT, CALLER = rtc.ParticipantKind.PARTICIPANT_KIND_AGENT, rtc.ParticipantKind.PARTICIPANT_KIND_STANDARD
SILENT = 64  # of 32,768: samples that Opus decodes from silence are below


def token(
    room: str, identity: str = "caller", key: str = KEY, secret: str = SECRET, *, hidden: bool = False, kind: Any = None
) -> str:
    """Return a caller's token as an application makes one. hidden: listens only. kind: "sip" for a telephone.

    kind is Any because LiveKit's SDK names its kinds by literals that it does not export.
    """
    grants = api.VideoGrants(room_join=True, room=room, hidden=hidden, can_publish=not hidden)
    signed = api.AccessToken(key, secret).with_identity(identity).with_grants(grants)
    return (signed.with_kind(kind) if kind else signed).to_jwt()


async def close(url: str, room: str, key: str = KEY, secret: str = SECRET) -> None:
    """Close a room for all its participants."""
    async with api.LiveKitAPI(url, key, secret) as server:
        await server.room.delete_room(api.DeleteRoomRequest(room=room))


async def participants(url: str, room: str, key: str = KEY, secret: str = SECRET) -> set[str]:
    """Return the identities of all participants of a room, hidden ones included."""
    async with api.LiveKitAPI(url, key, secret) as server:
        there = await server.room.list_participants(api.ListParticipantsRequest(room=room))
    return {one.identity for one in there.participants if one.state == api.ParticipantInfo.State.ACTIVE}


@dataclass
class Caption:
    """One text stream on the topic `lk.transcription`."""

    speaker: str
    segment: str
    track: str
    text: str = ""
    final: bool = False


@dataclass
class RoomCaller:
    """One participant. hears: the kind of participant whose track it records, an agent or a caller.

    heard: that track since it was subscribed, PCM16 mono at 24 kHz. frames_at: when each frame of it came, on the
    monotonic clock. states: of the agent, in order. gone: why the caller was disconnected, "" before.
    """

    room: rtc.Room
    hears: Kind = AGENT
    heard: bytearray = field(default_factory=bytearray)
    captions: list[Caption] = field(default_factory=list)
    states: list[str] = field(default_factory=list)
    frames_at: list[float] = field(default_factory=list)
    published: rtc.LocalTrackPublication | None = None
    track: rtc.LocalAudioTrack | None = None
    gone: str = ""
    _waiting: deque[bytes] = field(default_factory=deque)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _mic: asyncio.Task[None] | None = None

    # --- speaking ---------------------------------------------------------------------------------------------------

    async def open_microphone(self, *, preconnect: bool = False) -> None:
        """Publish a new track and return when packets can leave; it is silent while there is nothing to say.

        preconnect: announces a recording of the caller's audio before the call.
        """
        source = rtc.AudioSource(CALLER_HZ, 1, queue_size_ms=2 * FRAME_MS)
        self.track = rtc.LocalAudioTrack.create_audio_track("microphone", source)
        options = rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_MICROPHONE, preconnect_buffer=preconnect)
        self.published = await self.room.local_participant.publish_track(self.track, options)
        await self._can_send(self.track)
        self._mic = self._spawn(self._speak(source))

    async def close_microphone(self) -> None:
        """Unpublish the track."""
        assert self.published
        assert self._mic
        self._mic.cancel()
        await self.room.local_participant.unpublish_track(self.published.sid)

    def say(self, pcm: bytes) -> None:
        """Speak PCM16 mono at 16 kHz after all that was given before."""
        pcm += bytes(-len(pcm) % (2 * FRAME))
        self._waiting.extend(pcm[start : start + 2 * FRAME] for start in range(0, len(pcm), 2 * FRAME))

    @property
    def saying(self) -> bool:
        """Return whether audio of `say` has not gone out yet."""
        return bool(self._waiting)

    # --- observing --------------------------------------------------------------------------------------------------

    @property
    def agents(self) -> list[rtc.RemoteParticipant]:
        """Return the agents in the room."""
        others = self.room.remote_participants.values()
        return [participant for participant in others if participant.kind == AGENT]

    @property
    def state(self) -> str:
        """Return the agent's last state, "" before the first."""
        return self.states[-1] if self.states else ""

    def shown(self, speaker: str) -> dict[str, str]:
        """Return segment -> last text, as a client shows it, of participants whose identity begins with `speaker`."""
        return {one.segment: one.text for one in self.captions if one.speaker.startswith(speaker)}

    def final(self, speaker: str) -> list[str]:
        """Return the texts of final segments of the participants whose identity begins with `speaker`."""
        return [one.text for one in self.captions if one.speaker.startswith(speaker) and one.final]

    @property
    def samples(self) -> NDArray[np.int16]:
        """Return `heard` as samples at 24 kHz."""
        return np.frombuffer(bytes(self.heard), np.int16)

    @property
    def loud_s(self) -> float:
        """Return how many seconds of `heard` are not silent."""
        frame = AGENT_HZ * FRAME_MS // 1000
        frames = self.samples[: len(self.samples) // frame * frame].astype(np.int32).reshape(-1, frame)
        return float(np.count_nonzero(np.abs(frames).max(axis=1, initial=0) >= SILENT)) * FRAME_MS / 1000

    def silent_for(self, seconds: float) -> bool:
        """Return whether the last `seconds` of `heard` are silent."""
        last = self.samples[-int(seconds * AGENT_HZ) :]
        return len(last) >= int(seconds * AGENT_HZ) and int(np.abs(last.astype(np.int32)).max()) < SILENT

    def loud(self) -> bool:
        """Return whether the last 100 ms of `heard` are not silent."""
        last = self.samples[-AGENT_HZ // 10 :]
        return len(last) > 0 and int(np.abs(last.astype(np.int32)).max()) >= SILENT

    async def until(self, met: Callable[[], bool], within_s: float = WITHIN_S) -> None:
        """Return when `met` returns true, asked every 20 ms. Raises TimeoutError."""
        async with asyncio.timeout(within_s):
            while not met():
                await asyncio.sleep(LOOK_EVERY_S)

    # --- LiveKit's SDK ----------------------------------------------------------------------------------------------

    def attach(self) -> None:
        """Subscribe to the room's events, before it is connected."""
        on = self.room.on
        on("track_subscribed", self._subscribed)
        on("participant_attributes_changed", self.notice)
        on("participant_connected", lambda participant: self.notice(participant.attributes, participant))
        on("disconnected", lambda reason: setattr(self, "gone", rtc.DisconnectReason.Name(reason)))
        self.room.register_text_stream_handler("lk.transcription", self._shown)

    def detach(self) -> None:
        """Cancel all tasks."""
        for task in self._tasks:
            task.cancel()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _can_send(self, track: rtc.LocalAudioTrack) -> None:
        """Return when a packet can leave: before that the SDK accepts audio and drops it."""
        async with asyncio.timeout(WITHIN_S):
            while True:
                told = {one.WhichOneof("stats"): one for one in await track.get_stats()}
                transport = told.get("transport")
                if "outbound_rtp" in told and transport and transport.transport.transport.dtls_state == CONNECTED:
                    return
                await asyncio.sleep(ASK_EVERY_S)

    async def _speak(self, source: rtc.AudioSource) -> None:
        while True:
            pcm = self._waiting.popleft() if self._waiting else bytes(2 * FRAME)
            await source.capture_frame(rtc.AudioFrame(pcm, CALLER_HZ, 1, FRAME))

    def _subscribed(
        self, track: rtc.RemoteTrack, _publication: rtc.RemoteTrackPublication, participant: rtc.RemoteParticipant
    ) -> None:
        if participant.kind == self.hears:
            self._spawn(self._listen(track))

    async def _listen(self, track: rtc.RemoteTrack) -> None:
        stream = rtc.AudioStream(track, sample_rate=AGENT_HZ, num_channels=1, frame_size_ms=FRAME_MS, capacity=500)
        try:
            async for event in stream:
                self.heard += bytes(event.frame.data)
                self.frames_at.append(time.monotonic())
        finally:
            await stream.aclose()

    def notice(self, changed: dict[str, str], participant: rtc.Participant) -> None:
        """Record the state of an agent."""
        if participant.kind == AGENT and "lk.agent.state" in changed:
            self.states.append(changed["lk.agent.state"])

    def _shown(self, reader: rtc.TextStreamReader, who: str) -> None:
        self._spawn(self._read(reader, who))

    async def _read(self, reader: rtc.TextStreamReader, who: str) -> None:
        attributes = reader.info.attributes or {}
        caption = Caption(who, attributes["lk.segment_id"], attributes["lk.transcribed_track_id"])
        self.captions.append(caption)
        with suppress(rtc.StreamError):  # the room was closed in the middle of it
            async for piece in reader:
                caption.text += piece
        caption.final = (reader.info.attributes or {}).get("lk.transcription_final") == "true"


@asynccontextmanager
async def enter_room(
    url: str, access: str, *, microphone: bool = True, hears: Kind = AGENT
) -> AsyncIterator[RoomCaller]:
    """Enter a room with the token `access`; leave at the end. microphone: whether to open one at once."""
    caller = RoomCaller(rtc.Room(), hears)
    caller.attach()
    await caller.room.connect(url, access)
    for participant in caller.room.remote_participants.values():  # an agent may have entered first
        caller.notice(participant.attributes, participant)
    try:
        if microphone:
            await caller.open_microphone()
        yield caller
    finally:
        caller.detach()
        await caller.room.disconnect()
