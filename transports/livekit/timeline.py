"""The caller's line as a room gives it: positions on it are times.

Silence stands where nothing comes: while no microphone is open, or the network carries nothing. What a client recorded
before anybody listened (`preconnect.py`) is put before what is heard, which waits for it.
"""

import asyncio
import time

from schemas.audio import CALLER_HZ, SAMPLE_BYTES
from schemas.media import MAX_CHUNK_MS
from transports.livekit import preconnect
from transports.transport import CallerInput

SILENT_AFTER_S = 0.1  # without a frame for one to two of these, silence is put in its place
RECORDED_WITHIN_S = 3.0  # a client that announces a recording sends it as soon as it sees the agent
CHUNK_BYTES = CALLER_HZ * MAX_CHUNK_MS // 1000 * SAMPLE_BYTES


class Timeline:
    """Of one caller, from now on. sounded: a first frame came. whole: no recording is waited for."""

    def __init__(self, line: CallerInput) -> None:
        self.sounded = asyncio.Event()
        self.whole = asyncio.Event()
        self.whole.set()
        self._line = line
        self._began = time.monotonic()
        self._samples = 0
        self._fresh = True  # a frame came since the last look
        self._kept: bytearray | None = None  # what is heard while a recording is waited for
        self._kept_from = 0.0
        self._recorded: bytes | None = None
        self._recorded_at = 0.0
        self._settled = False  # whether something was recorded before is no question any more

    def hear(self, pcm: bytes) -> None:
        """PCM16 mono at 16 kHz."""
        self._fresh = True
        self.sounded.set()
        if self._kept is None:
            self._say(pcm)
            return
        self._kept_from = self._kept_from or time.monotonic()
        self._kept += pcm
        self._join_if_ready()

    async def keep(self) -> None:
        """Put silence where nothing comes. Two looks without a frame between them: one may only have been late."""
        silent = False
        self._fresh = False
        while True:
            await asyncio.sleep(SILENT_AFTER_S)
            if silent and not self._fresh:
                self.be_silent()
            silent, self._fresh = not self._fresh, False

    def be_silent(self) -> None:
        """Up to now."""
        if self._kept is None:
            self._say(bytes(max(0, self._missing()) * SAMPLE_BYTES))

    # --- before the session opens -------------------------------------------------------------------------------------

    async def opening(self) -> None:
        """Return when the session may open: what was recorded later is not put before anything."""
        await self.whole.wait()
        self._settled = True

    def wait_for_recording(self) -> None:
        """Keep what is heard until the recording of what came before it is here; once, and not for long."""
        if not self._settled and self._kept is None and not self.sounded.is_set():
            self.whole.clear()
            self._kept = bytearray()
            asyncio.get_running_loop().call_later(RECORDED_WITHIN_S, self._join)
            self._join_if_ready()

    def put_before(self, recorded: bytes) -> None:
        """The recording; empty if there is none after all."""
        if not self._settled:
            self._recorded, self._recorded_at = recorded, time.monotonic()
            self._join_if_ready()

    def _join_if_ready(self) -> None:
        if self._kept is None or self._recorded is None:
            return
        if not self._recorded or len(self._kept) >= preconnect.LOOK * SAMPLE_BYTES:
            self._join()

    def _join(self) -> None:
        if self._kept is None:
            return
        self._settled = True
        heard, self._kept = bytes(self._kept), None
        recorded, self._recorded = self._recorded or b"", None
        late_s = max(0.0, self._recorded_at - self._kept_from) if heard else 0.0
        earlier = preconnect.before(recorded, heard, int(late_s * CALLER_HZ))
        missing = self._missing() - (len(earlier) + len(heard)) // SAMPLE_BYTES
        if missing < 0:  # it was said before the line began: then the line began when it was said
            self._began += missing / CALLER_HZ
            self._line.began_earlier(-missing)
        self._say(bytes(max(0, missing) * SAMPLE_BYTES) + earlier + heard)
        self.whole.set()

    # --- the line -----------------------------------------------------------------------------------------------------

    def _missing(self) -> int:
        return int((time.monotonic() - self._began) * CALLER_HZ) - self._samples

    def _say(self, pcm: bytes) -> None:
        self._samples += len(pcm) // SAMPLE_BYTES
        for start in range(0, len(pcm), CHUNK_BYTES):
            self._line.hear(pcm[start : start + CHUNK_BYTES])
