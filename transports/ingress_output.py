"""The caller output for a caller whose socket ingress holds: sends frames and clears to ingress over the bus."""

from schemas.audio import AGENT_HZ
from schemas.events import Event
from schemas.media import Flag
from transports.transport import OutputSession


class IngressOutput:
    """Sends to the coordinator of a session. A clear is an empty frame with the flag DISCONTINUITY, of no turn."""

    def __init__(self, session: OutputSession) -> None:
        self._session = session

    def play(self, pcm: bytes, turn: int, segment: int, flags: int, at: int) -> None:
        """Send 20 ms of PCM16 mono at 24 kHz, with the position that the caller has heard behind it."""
        self._send(pcm, turn, segment, flags, at)

    def clear(self) -> None:
        """Send a clear."""
        self._send(b"", 0, 0, Flag.DISCONTINUITY, 0)

    def show(self, event: Event) -> None:
        """Do nothing: ingress receives the events itself."""

    def _send(self, pcm: bytes, turn: int, segment: int, flags: int, at: int) -> None:
        session = self._session
        session.send(session.coordinator, pcm, AGENT_HZ, at=at, turn=turn, segment=segment, flags=flags)
