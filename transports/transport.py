"""The Protocols between transports and the stages ingress and egress.

A caller input is how audio, text and keys of a caller reach ingress; a caller output is how egress plays to a caller.
All of them are called on the event loop and return at once: a slow caller never delays the caller of a method.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Protocol

from bus.connect import Bus
from schemas.audio import CALLER_HZ, SAMPLE_BYTES
from schemas.control import RoomAccess, SessionOffer
from schemas.events import CloseReason, Event, MetadataRefused, Origin


class Refused(Exception):
    """Raised when a call is not accepted; the text gives the cause and what to do."""


@dataclass(frozen=True)
class Arrival:
    """What a transport knows of a caller beside the agent.

    origin: for `session_opened`. refused: published after it. access: makes a new token for egress at each call.
    """

    origin: Origin | None = None
    refused: tuple[MetadataRefused, ...] = ()
    access: Callable[[], RoomAccess] | None = None


NO_ARRIVAL = Arrival()  # of a caller who named the agent, and nothing else


@dataclass(frozen=True)
class AudioFormat:
    """PCM, 16-bit signed little-endian, channels interleaved. hz: samples a second of each channel."""

    hz: int = CALLER_HZ
    channels: int = 1

    @property
    def sample_bytes(self) -> int:
        """Bytes of one sample of all channels."""
        return SAMPLE_BYTES * self.channels

    def bytes_in(self, ms: int) -> int:
        """Return the bytes of `ms` milliseconds, always whole samples."""
        return self.hz * ms // 1000 * self.sample_bytes


CALLER_AUDIO = AudioFormat()  # what the stages take, and what a caller sends who names no other format

# --- ingress ----------------------------------------------------------------------------------------------------------


class CallerConnection(Protocol):
    """The caller's end of a session, as ingress calls it."""

    async def ready(self) -> None:
        """Return when the caller can hear the greeting."""

    def play(self, pcm: bytes) -> None:
        """Play 20 ms of PCM16 mono at 24 kHz after all audio passed before. Unused where egress reaches the caller."""

    def clear(self) -> None:
        """Drop all audio that has been passed and has not begun to play."""

    def refuse(self, message: str) -> None:
        """Report to the caller that something it sent was refused, with the limit. The session goes on."""

    def end(self, error: str = "") -> None:
        """Close the connection: the session is over. error: for the caller, why the session could not continue."""


class CallerInput(Protocol):
    """A session of ingress, as the transport that reached the caller calls it."""

    session: str

    def audio(self, pcm: bytes) -> None:
        """Accept at most 100 ms in the caller's format; refuses, counts and reports anything else."""

    def prepend_audio(self, pcm: bytes) -> None:
        """Accept PCM16 mono at 16 kHz from before the call, of any length; the session then starts that much earlier.

        Only until `CallerConnection.ready` has returned. Only a transport that records audio before the call needs it.
        """

    def text(self, text: str) -> None:
        """Accept a typed turn of 1 to 2,000 characters; refuses, counts and reports anything else."""

    def dtmf(self, digit: str) -> None:
        """Accept a pressed key, one of `0123456789*#ABCD`; refuses, counts and reports anything else."""

    def hang_up(self, reason: CloseReason = "hangup") -> None:
        """End the session; the first reason counts."""


class Answer(Protocol):
    """Opens a session of ingress for a caller."""

    def __call__(
        self,
        agent: str,
        session: str | None,
        transport: str,
        connection: CallerConnection,
        audio: AudioFormat = CALLER_AUDIO,
    ) -> Awaitable[CallerInput]:
        """Return the input of a session with `agent`. Raises Refused.

        session: an id that ingress offered before. audio: the format of what `CallerInput.audio` will be given.
        """


# --- rooms ------------------------------------------------------------------------------------------------------------


class RoomHost(Protocol):
    """An ingress worker, as a transport that is given jobs for rooms sees it. A slot is capacity for one session."""

    @property
    def id(self) -> str:
        """The worker's id."""

    @property
    def bus(self) -> Bus:
        """The worker's connection to NATS."""

    @property
    def capacity(self) -> int:
        """The number of slots."""

    @property
    def busy(self) -> int:
        """The number of slots in use: sessions, and slots that are reserved."""

    @property
    def draining(self) -> bool:
        """Whether the worker takes no new session."""

    @property
    def answer(self) -> Answer:
        """Opens the session of an accepted job."""

    def count(self, reason: str) -> None:
        """Increment the worker's counter `reason`."""

    def reserve(self, within_s: float) -> str | None:
        """Reserve a slot for `within_s` seconds. Return the id of its session; None without capacity."""

    def accept(
        self, session: str, agent: str, arrival: Arrival, serving: Coroutine[Any, Any, None]
    ) -> asyncio.Task[None]:
        """Run `serving` as a task of the worker, with the slot of `session` kept until it is done.

        `serving` calls `answer` with the same agent and session. An exception of `serving` ends its session only.
        """

    def hang_up(self, session: str, reason: CloseReason) -> bool:
        """End a session; return False if it has not begun."""


class RoomTransport(Protocol):
    """A transport that is given jobs for rooms, as ingress sees it."""

    default_agent: str  # answers in a room that names no known agent
    registered: asyncio.Event  # set while jobs can come

    def offer(self, agent: str, room: str) -> SessionOffer:
        """Return an offer of the new room `room`; its session begins when the caller has entered."""

    async def serve(self, host: RoomHost) -> None:
        """Take jobs until cancelled."""


# --- egress -----------------------------------------------------------------------------------------------------------


class CallerOutput(Protocol):
    """The caller, as egress plays to it. The far end plays frames without a pause from the first one after silence."""

    def play(self, pcm: bytes, turn: int, segment: int, flags: int, at: int) -> None:
        """Play 20 ms of PCM16 mono at 24 kHz of a segment of a turn.

        flags: `schemas.media.Flag`. at: the first sample after this frame, counted from the beginning of the turn.
        """

    def clear(self) -> None:
        """Drop all frames that have been passed and have not begun to play."""

    def show(self, event: Event) -> None:
        """Show an event of the session, for a caller who sees captions or the agent's state."""


class OutputSession(Protocol):
    """A session of egress, as a caller output sees it. coordinator: id of the ingress worker."""

    coordinator: str
    room: RoomAccess | None

    def fail(self, failure: BaseException) -> None:
        """End the session in this stage because of `failure`."""

    def send_pre_connect_audio(self, pcm: bytes) -> None:
        """Send ingress what the caller's client recorded before the call; PCM16 mono at 16 kHz, empty if unreadable."""

    def send(
        self, worker: str, pcm: bytes, rate: int, *, at: int = 0, turn: int = 0, segment: int = 0, flags: int = 0
    ) -> None:
        """Send one media frame to `worker`. at: its first sample."""
