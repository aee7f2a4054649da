"""Whether people are in a room: ends the session of a room that they have left, or that no person enters."""

import asyncio

from schemas.events import CloseReason
from transports.livekit.people import People
from transports.transport import CallerInput

NOBODY_FOR_S = 300.0  # LiveKit closes an empty room after this time, too


class Presence:
    """The presence of people in one room. entered: set when a person has been in the room."""

    def __init__(self, people: People, caller_input: CallerInput, grace_s: float) -> None:
        """grace_s: how long the session continues after the last person has left."""
        self.entered = asyncio.Event()
        self._people = people
        self._input = caller_input
        self._grace_s = grace_s
        self._timer: asyncio.TimerHandle | None = None  # of an empty room

    def update(self) -> None:
        """Start the timer of an empty room, or stop it."""
        if self._people.present:
            self.entered.set()
            self.close()
        elif not self._timer:
            reason: CloseReason = "hangup" if self.entered.is_set() else "no_caller"
            delay_s = self._grace_s if self.entered.is_set() else NOBODY_FOR_S
            self._timer = asyncio.get_running_loop().call_later(delay_s, self._input.hang_up, reason)

    def close(self) -> None:
        """Stop the timer."""
        if self._timer:
            self._timer.cancel()
            self._timer = None
