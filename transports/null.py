"""The transport `null`: a simulated caller inside ingress, to whom nothing is played. It measures the stages alone."""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress

from schemas.audio import FRAME_MS
from schemas.events import Event
from transports.transport import Answer, CallerInput, Refused

# Options of a claim -> the caller's frames, 20 ms of PCM16 mono at 16 kHz each. Raises ValueError for other options.
Simulate = Callable[[Mapping[str, int]], Iterator[bytes]]


class NullOutput:
    """A caller output that drops what is played."""

    def play(self, pcm: bytes, turn: int, segment: int, flags: int, at: int) -> None:
        """Drop 20 ms."""

    def clear(self) -> None:
        """Do nothing."""

    def show(self, event: Event) -> None:
        """Do nothing."""


async def call(answer: Answer, agent: str, session: str, frames: Iterator[bytes]) -> None:
    """Make one call with these frames, at real-time pace; hang up after the last one."""
    caller = NullCaller(frames)
    with suppress(Refused):
        caller.begin(await answer(agent, session, "null", caller))
        await caller.over.wait()


class NullCaller:
    """The connection of a simulated caller: sends frame k at k * 20 ms, without drift.

    One timer and one plain call a frame, because hundreds of callers share the loop with the code that is measured.
    """

    def __init__(self, frames: Iterator[bytes]) -> None:
        self.over = asyncio.Event()
        self._frames = frames
        self._loop = asyncio.get_running_loop()
        self._input: CallerInput
        self._due = 0.0

    def begin(self, caller_input: CallerInput) -> None:
        """Begin to send."""
        self._input = caller_input
        self._due = self._loop.time()
        self._schedule()

    async def ready(self) -> None:
        """Return at once."""

    def play(self, pcm: bytes) -> None:
        """Drop 20 ms."""

    def clear(self) -> None:
        """Do nothing."""

    def refuse(self, message: str) -> None:
        """Nothing to do: the simulated caller sends nothing that is refused."""

    def end(self, error: str = "") -> None:
        """Stop sending."""
        self.over.set()

    def _schedule(self) -> None:
        self._due += FRAME_MS / 1000
        self._loop.call_at(self._due, self._send)

    def _send(self) -> None:
        if self.over.is_set():
            return
        frame = next(self._frames, None)
        if frame is None:
            self._input.hang_up()
            self.over.set()
            return
        self._input.audio(frame)
        self._schedule()
