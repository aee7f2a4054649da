"""Somebody in a LiveKit room who knows nothing of Antiphon: LiveKit's SDK, a microphone, and what its own clients show.

async with visit(url, token(room="r")) as visitor:
    visitor.say(pcm)
    await visitor.until(lambda: "hello" in visitor.shown("agent"))
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

from schemas.audio import AGENT_HZ, CALLER_HZ, FRAME_MS
from tests.kit.room_server import KEY, SECRET

WITHIN_S = 30.0
LOOK_EVERY_S = 0.02
ASK_EVERY_S = 0.005
CONNECTED = 2  # of WebRTC's DtlsTransportState
FRAME = CALLER_HZ * FRAME_MS // 1000
Kind: TypeAlias = rtc.ParticipantKind.ValueType
AGENT, CALLER = rtc.ParticipantKind.PARTICIPANT_KIND_AGENT, rtc.ParticipantKind.PARTICIPANT_KIND_STANDARD
SILENT = 64  # of 32,768: what Opus makes of silence is below


def token(
    room: str, identity: str = "caller", key: str = KEY, secret: str = SECRET, *, hidden: bool = False, kind: Any = None
) -> str:
    """A token as anybody's application makes one; who is hidden may listen only. kind: "sip" for a telephone."""
    grants = api.VideoGrants(room_join=True, room=room, hidden=hidden, can_publish=not hidden)
    signed = api.AccessToken(key, secret).with_identity(identity).with_grants(grants)
    return (signed.with_kind(kind) if kind else signed).to_jwt()


async def close(url: str, room: str, key: str = KEY, secret: str = SECRET) -> None:
    """Close a room for everybody in it."""
    async with api.LiveKitAPI(url, key, secret) as server:
        await server.room.delete_room(api.DeleteRoomRequest(room=room))


async def people(url: str, room: str, key: str = KEY, secret: str = SECRET) -> set[str]:
    """The identities of all who are in a room, those that nobody sees, too."""
    async with api.LiveKitAPI(url, key, secret) as server:
        there = await server.room.list_participants(api.ListParticipantsRequest(room=room))
    return {one.identity for one in there.participants if one.state == api.ParticipantInfo.State.ACTIVE}


@dataclass
class Caption:
    """One text stream on `lk.transcription`."""

    speaker: str
    segment: str
    track: str
    text: str = ""
    final: bool = False


@dataclass
class Visitor:
    """One participant. heard: the agent's track from the moment it was subscribed. states: of the agent, in order.

    hears: whose track it is: the agent's, or for somebody who only listens the caller's.
    """

    room: rtc.Room
    hears: Kind = AGENT
    heard: bytearray = field(default_factory=bytearray)
    captions: list[Caption] = field(default_factory=list)
    states: list[str] = field(default_factory=list)
    frames_at: list[float] = field(default_factory=list)  # when each frame of `heard` came
    spoken_from: int = 0  # sample of `heard` at which the agent last began to speak
    published: rtc.LocalTrackPublication | None = None
    track: rtc.LocalAudioTrack | None = None
    gone: str = ""
    _waiting: deque[bytes] = field(default_factory=deque)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _mic: asyncio.Task[None] | None = None

    # --- what they do -------------------------------------------------------------------------------------------------

    async def open_microphone(self, *, preconnect: bool = False) -> None:
        """A new track; sound flows from the first packet on, silent while nothing is said.

        preconnect: it says that a recording of what came before will follow.
        """
        source = rtc.AudioSource(CALLER_HZ, 1, queue_size_ms=2 * FRAME_MS)
        self.track = rtc.LocalAudioTrack.create_audio_track("microphone", source)
        options = rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_MICROPHONE, preconnect_buffer=preconnect)
        self.published = await self.room.local_participant.publish_track(self.track, options)
        await self._can_send(self.track)
        self._mic = self._spawn(self._speak(source))

    async def close_microphone(self) -> None:
        assert self.published
        assert self._mic
        self._mic.cancel()
        await self.room.local_participant.unpublish_track(self.published.sid)

    def say(self, pcm: bytes) -> None:
        """PCM16 mono at 16 kHz, after what is being said."""
        pcm += bytes(-len(pcm) % (2 * FRAME))
        self._waiting.extend(pcm[start : start + 2 * FRAME] for start in range(0, len(pcm), 2 * FRAME))

    @property
    def saying(self) -> bool:
        return bool(self._waiting)

    # --- what they notice ---------------------------------------------------------------------------------------------

    @property
    def agents(self) -> list[rtc.RemoteParticipant]:
        people = self.room.remote_participants.values()
        return [person for person in people if person.kind == AGENT]

    @property
    def state(self) -> str:
        return self.states[-1] if self.states else ""

    def shown(self, speaker: str) -> dict[str, str]:
        """The last text of each segment of a speaker whose identity begins so, as a client would show it."""
        return {one.segment: one.text for one in self.captions if one.speaker.startswith(speaker)}

    def final(self, speaker: str) -> list[str]:
        """The segments of a speaker that will not change any more."""
        return [one.text for one in self.captions if one.speaker.startswith(speaker) and one.final]

    @property
    def samples(self) -> NDArray[np.int16]:
        return np.frombuffer(bytes(self.heard), np.int16)

    @property
    def loud_s(self) -> float:
        """How much of what was heard is not silent."""
        frame = AGENT_HZ * FRAME_MS // 1000
        frames = self.samples[: len(self.samples) // frame * frame].astype(np.int32).reshape(-1, frame)
        return float(np.count_nonzero(np.abs(frames).max(axis=1, initial=0) >= SILENT)) * FRAME_MS / 1000

    def silent_for(self, seconds: float) -> bool:
        """Whether the last of what was heard is that long silent."""
        last = self.samples[-int(seconds * AGENT_HZ) :]
        return len(last) >= int(seconds * AGENT_HZ) and int(np.abs(last.astype(np.int32)).max()) < SILENT

    def loud(self) -> bool:
        """Whether the last 100 ms are not silent."""
        last = self.samples[-AGENT_HZ // 10 :]
        return len(last) > 0 and int(np.abs(last.astype(np.int32)).max()) >= SILENT

    async def until(self, met: Callable[[], bool], within_s: float = WITHIN_S) -> None:
        """Return as soon as it holds. Raises TimeoutError."""
        async with asyncio.timeout(within_s):
            while not met():
                await asyncio.sleep(LOOK_EVERY_S)

    # --- how ----------------------------------------------------------------------------------------------------------

    def attach(self) -> None:
        on = self.room.on
        on("track_subscribed", self._subscribed)
        on("participant_attributes_changed", self.notice)
        on("participant_connected", lambda person: self.notice(person.attributes, person))
        on("disconnected", lambda reason: setattr(self, "gone", rtc.DisconnectReason.Name(reason)))
        self.room.register_text_stream_handler("lk.transcription", self._shown)

    def detach(self) -> None:
        for task in self._tasks:
            task.cancel()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _can_send(self, track: rtc.LocalAudioTrack) -> None:
        """Return when a packet can leave: the SDK takes sound before that, and throws it away."""
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
        self, track: rtc.RemoteTrack, _publication: rtc.RemoteTrackPublication, person: rtc.RemoteParticipant
    ) -> None:
        if person.kind == self.hears:
            self._spawn(self._listen(track))

    async def _listen(self, track: rtc.RemoteTrack) -> None:
        stream = rtc.AudioStream(track, sample_rate=AGENT_HZ, num_channels=1, frame_size_ms=FRAME_MS, capacity=500)
        try:
            async for event in stream:
                self.heard += bytes(event.frame.data)
                self.frames_at.append(time.monotonic())
        finally:
            await stream.aclose()

    def notice(self, changed: dict[str, str], person: rtc.Participant) -> None:
        """The state of an agent."""
        if person.kind == AGENT and "lk.agent.state" in changed:
            self.states.append(changed["lk.agent.state"])
            if self.state == "speaking":
                self.spoken_from = len(self.samples)

    def _shown(self, reader: rtc.TextStreamReader, who: str) -> None:
        self._spawn(self._read(reader, who))

    async def _read(self, reader: rtc.TextStreamReader, who: str) -> None:
        attributes = reader.info.attributes or {}
        caption = Caption(who, attributes["lk.segment_id"], attributes["lk.transcribed_track_id"])
        self.captions.append(caption)
        with suppress(rtc.StreamError):  # the room broke off in the middle of it
            async for piece in reader:
                caption.text += piece
        caption.final = (reader.info.attributes or {}).get("lk.transcription_final") == "true"


@asynccontextmanager
async def visit(url: str, pass_: str, *, microphone: bool = True, hears: Kind = AGENT) -> AsyncIterator[Visitor]:
    """Be in a room, with an open microphone unless told otherwise."""
    visitor = Visitor(rtc.Room(), hears)
    visitor.attach()
    await visitor.room.connect(url, pass_)
    for person in visitor.room.remote_participants.values():  # an agent may be there first
        visitor.notice(person.attributes, person)
    try:
        if microphone:
            await visitor.open_microphone()
        yield visitor
    finally:
        visitor.detach()
        await visitor.room.disconnect()
