"""The joint between a transport and ingress.

A transport that accepts a caller asks `Answer` for a session and gives it a `CallerConnection`; ingress gives back a
`CallerInput`. Both call each other plainly on the event loop: neither waits for a slow caller.
"""

from collections.abc import Awaitable
from typing import Protocol

from schemas.events import CloseReason


class Refused(Exception):
    """The call is not taken; the message says why and what to do."""


class CallerConnection(Protocol):
    """The caller's end, for transports whose socket lives in ingress."""

    async def ready(self) -> None:
        """Returns when the caller can hear the greeting."""

    def pre_connect_audio(self, pcm: bytes) -> None:
        """What the caller's end recorded before anybody listened, PCM16 mono at 16 kHz; empty if it cannot be read."""

    def play(self, pcm: bytes) -> None:
        """20 ms of PCM16 mono at 24 kHz to play after what was given before."""

    def clear(self) -> None:
        """Drop what was given and has not begun to play."""

    def end(self, error: str = "") -> None:
        """The call is over; `error` tells the caller why it could not go on."""


class CallerInput(Protocol):
    """The session behind a caller."""

    session: str

    def hear(self, pcm: bytes) -> None:
        """PCM16 mono at 16 kHz from the caller, at most 100 ms; anything else is refused and counted."""

    def began_earlier(self, samples: int) -> None:
        """The line's first sample is that much older than was thought; only until the sink is ready."""

    def text(self, text: str) -> None:
        """What the caller typed, a whole turn of it: 1 to 2,000 characters; anything else is refused and counted."""

    def dtmf(self, digit: str) -> None:
        """A key that the caller pressed: one of `0123456789*#ABCD`; anything else is refused and counted."""

    def hang_up(self, reason: CloseReason = "hangup") -> None:
        """The caller is gone."""


class Answer(Protocol):
    """Ingress, as a transport sees it."""

    def __call__(
        self, agent: str, session: str | None, transport: str, sink: CallerConnection
    ) -> Awaitable[CallerInput]:
        """A line to `agent`; raises Refused. `session` is the id of a line claimed before."""
