"""Subscribes to the caller's microphone and unsubscribes from every other track of a room.

The server sends every track as soon as ingress joins, because a later subscription costs the first 300 ms of the
caller's audio. While the caller is muted, the SDK gives silence.
"""

import asyncio

from livekit import api, rtc

from schemas.audio import CALLER_HZ, FRAME_MS
from transports.livekit.people import People, is_microphone, microphone
from transports.livekit.timeline import Timeline

RETRY_S = 1.0  # a track arrives within a third of this after its subscription
MAX_WAITING_FRAMES = 250  # 5 s that a busy loop may be late; the SDK then drops the oldest
RECORDED: int = api.AudioTrackFeature.TF_PRECONNECT_BUFFER  # announces pre-connect audio of this track


class CallerTrack:
    """The caller's microphone in one room."""

    def __init__(self, people: People, timeline: Timeline) -> None:
        self._people = people
        self._timeline = timeline
        self._track: rtc.RemoteTrack | None = None  # the one that is read
        self._reading: asyncio.Task[None] | None = None
        self._unsubscribed: set[str] = set()  # ids of tracks
        self._closed = False

    def on_published(
        self, publication: rtc.RemoteTrackPublication, _person: rtc.RemoteParticipant | None = None
    ) -> None:
        """Unsubscribe from a new track unless it is the caller's microphone."""
        self.update()
        caller = self._people.caller
        if caller is None or publication.sid not in caller.track_publications or not is_microphone(publication):
            self._unsubscribed.add(publication.sid)
            publication.set_subscribed(False)

    def update(self) -> None:
        """Read the caller's newest microphone."""
        caller = self._people.caller
        publication = microphone(caller) if caller else None
        if publication and publication.sid in self._unsubscribed:  # its owner has become the caller since
            self._unsubscribed.discard(publication.sid)
            self._subscribe(publication)
        if publication and RECORDED in publication.audio_features:
            self._timeline.wait_for_recording()
        track = publication.track if publication else None
        if track is not self._track:
            self._track = track
            if self._reading:
                self._reading.cancel()
            self._reading = asyncio.create_task(self._read(track)) if track else None

    def close(self) -> list[asyncio.Task[None]]:
        """Stop reading. Returns the tasks that have yet to end."""
        self._closed = True
        if self._reading is None:
            return []
        self._reading.cancel()
        return [self._reading]

    def _subscribe(self, publication: rtc.RemoteTrackPublication, again: bool = False) -> None:
        """Subscribe until the track arrives: the server may overlook a subscription soon after its end."""
        caller = self._people.caller
        if publication.track or self._closed or not caller or microphone(caller) is not publication:
            return
        if again:
            publication.set_subscribed(False)
        publication.set_subscribed(True)
        asyncio.get_running_loop().call_later(RETRY_S, self._subscribe, publication, True)

    async def _read(self, track: rtc.RemoteTrack) -> None:
        stream = rtc.AudioStream(
            track, sample_rate=CALLER_HZ, num_channels=1, frame_size_ms=FRAME_MS, capacity=MAX_WAITING_FRAMES
        )
        self._timeline.fill_silence()
        try:
            async for event in stream:
                self._timeline.receive(bytes(event.frame.data))
        finally:
            await stream.aclose()
