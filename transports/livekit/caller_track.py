"""Of all tracks of a room the caller's microphone: it becomes the line of the call, what else is sent is refused.

The server sends every track as soon as ingress joins, because asking for one later costs the caller's first third of a
second. While the caller is muted, silence comes from the SDK.
"""

import asyncio

from livekit import api, rtc

from schemas.audio import CALLER_HZ, FRAME_MS
from transports.livekit.people import People, is_microphone, microphone
from transports.livekit.timeline import Timeline

ASKED_EVERY_S = 1.0  # a track that is asked for comes within a third of this
MAX_WAITING_FRAMES = 250  # 5 s that a busy loop may be late; the oldest give way
RECORDED: int = api.AudioTrackFeature.TF_PRECONNECT_BUFFER  # what came before this track will be sent


class Ear:
    """One call's."""

    def __init__(self, people: People, timeline: Timeline) -> None:
        self._people = people
        self._timeline = timeline
        self._heard: rtc.RemoteTrack | None = None  # the microphone that is heard now
        self._hearing: asyncio.Task[None] | None = None
        self._refused: set[str] = set()  # tracks that the server need not send
        self._closed = False

    def published(self, publication: rtc.RemoteTrackPublication, _person: rtc.RemoteParticipant | None = None) -> None:
        """Keep of what the server sends the caller's microphone only."""
        self.listen()
        caller = self._people.caller
        wanted = caller is not None and publication.sid in caller.track_publications and is_microphone(publication)
        if not wanted:
            self._refused.add(publication.sid)
            publication.set_subscribed(False)

    def listen(self) -> None:
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

    def close(self) -> list[asyncio.Task[None]]:
        """Hear no more. Returns what has to end yet."""
        self._closed = True
        if self._hearing is None:
            return []
        self._hearing.cancel()
        return [self._hearing]

    def _ask(self, publication: rtc.RemoteTrackPublication, again: bool = False) -> None:
        """Have a track sent that was refused before. The server may overlook it, so it is asked until it is sent."""
        caller = self._people.caller
        if publication.track or self._closed or not caller or microphone(caller) is not publication:
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
