"""The speaking half for callers whose socket lives in ingress: frames and clears go there over the bus."""

from typing import Protocol

from schemas.audio import AGENT_HZ, SAMPLE_BYTES
from schemas.control import RoomAccess
from schemas.events import Event
from schemas.media import Flag


class Call(Protocol):
    """What a transport needs of a session."""

    coordinator: str
    room: RoomAccess | None

    def fail(self, failure: BaseException) -> None: ...

    def send_pre_connect_audio(self, pcm: bytes) -> None: ...

    def send(
        self, worker: str, pcm: bytes, rate: int, *, at: int = 0, turn: int = 0, segment: int = 0, flags: int = 0
    ) -> None: ...


class IngressOutput:
    """Sends to the coordinator of a call. A clear is an empty chunk marked as a discontinuity, of no turn."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._at = 0  # samples sent

    def play(self, pcm: bytes, turn: int, segment: int, flags: int) -> None:
        """Send 20 ms."""
        call = self._call
        call.send(call.coordinator, pcm, AGENT_HZ, at=self._at, turn=turn, segment=segment, flags=flags)
        self._at += len(pcm) // SAMPLE_BYTES

    def clear(self) -> None:
        """Send a clear."""
        self._call.send(self._call.coordinator, b"", AGENT_HZ, at=self._at, flags=Flag.DISCONTINUITY)

    def tell(self, event: Event) -> None:
        """Ingress hears it, too."""
