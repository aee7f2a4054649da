"""The caller's audio as a room gives it, on a timeline: a sample position converts to a time.

The timeline has silence where no audio arrives: while no microphone is open, or the network carries nothing.
Pre-connect audio (`preconnect.py`) is put before the received audio, which waits for it.
"""

import asyncio
import time

from schemas.audio import CALLER_HZ, SAMPLE_BYTES
from schemas.media import MAX_CHUNK_MS
from transports.livekit import preconnect
from transports.transport import CallerInput

SILENT_AFTER_S = 0.1  # silence is filled in after one to two of these without a frame
RECORDED_WITHIN_S = 3.0  # a client that announces a recording sends it as soon as it sees the agent
CHUNK_BYTES = CALLER_HZ * MAX_CHUNK_MS // 1000 * SAMPLE_BYTES


class Timeline:
    """The timeline of one caller. sounded: set at the first frame. whole: set while no recording is awaited."""

    def __init__(self, caller_input: CallerInput) -> None:
        """Start the timeline now, with the session that takes its audio."""
        self.sounded = asyncio.Event()
        self.whole = asyncio.Event()
        self.whole.set()
        self._input = caller_input
        self._began = time.monotonic()
        self._samples = 0  # passed to the session
        self._fresh = True  # a frame came since the last look
        self._kept: bytearray | None = None  # received while a recording is awaited
        self._kept_from = 0.0
        self._recorded: bytes | None = None
        self._recorded_at = 0.0
        self._settled = False  # a recording has been joined, or is no longer accepted

    def receive(self, pcm: bytes) -> None:
        """Take PCM16 mono at 16 kHz from the caller."""
        self._fresh = True
        self.sounded.set()
        if self._kept is None:
            self._pass_on(pcm)
            return
        self._kept_from = self._kept_from or time.monotonic()
        self._kept += pcm
        self._join_if_ready()

    async def fill_gaps(self) -> None:
        """Fill in silence until cancelled, after two looks without a frame: a single frame may only be late."""
        silent = False
        self._fresh = False
        while True:
            await asyncio.sleep(SILENT_AFTER_S)
            if silent and not self._fresh:
                self.fill_silence()
            silent, self._fresh = not self._fresh, False

    def fill_silence(self) -> None:
        """Fill in silence up to now."""
        if self._kept is None:
            self._pass_on(bytes(max(0, self._missing()) * SAMPLE_BYTES))

    # --- before the session opens -------------------------------------------------------------------------------------

    async def opening(self) -> None:
        """Return when the session may open; a recording that arrives later is ignored."""
        await self.whole.wait()
        self._settled = True

    def wait_for_recording(self) -> None:
        """Keep received audio until the recording arrives: once a session, RECORDED_WITHIN_S at most."""
        if not self._settled and self._kept is None and not self.sounded.is_set():
            self.whole.clear()
            self._kept = bytearray()
            asyncio.get_running_loop().call_later(RECORDED_WITHIN_S, self._join)
            self._join_if_ready()

    def put_before(self, recorded: bytes) -> None:
        """Put a recording before the received audio; PCM16 mono at 16 kHz, empty if there is none after all."""
        if not self._settled:
            self._recorded, self._recorded_at = recorded, time.monotonic()
            self._join_if_ready()

    def _join_if_ready(self) -> None:
        if self._kept is None or self._recorded is None:
            return
        if not self._recorded or len(self._kept) >= preconnect.COMPARED * SAMPLE_BYTES:
            self._join()

    def _join(self) -> None:
        if self._kept is None:
            return
        self._settled = True
        received, self._kept = bytes(self._kept), None
        recorded, self._recorded = self._recorded or b"", None
        late_s = max(0.0, self._recorded_at - self._kept_from) if received else 0.0
        pcm = preconnect.part_before(recorded, received, int(late_s * CALLER_HZ)) + received
        missing = self._missing() - len(pcm) // SAMPLE_BYTES
        if missing >= 0:
            self._pass_on(bytes(missing * SAMPLE_BYTES) + pcm)
        else:  # the recording began before the timeline did
            earlier = -missing * SAMPLE_BYTES
            self._began += missing / CALLER_HZ
            self._samples -= missing
            self._input.prepend_audio(pcm[:earlier])
            self._pass_on(pcm[earlier:])
        self.whole.set()

    # --- the session --------------------------------------------------------------------------------------------------

    def _missing(self) -> int:
        """Return how many samples are missing up to now."""
        return int((time.monotonic() - self._began) * CALLER_HZ) - self._samples

    def _pass_on(self, pcm: bytes) -> None:
        self._samples += len(pcm) // SAMPLE_BYTES
        for start in range(0, len(pcm), CHUNK_BYTES):
            self._input.audio(pcm[start : start + CHUNK_BYTES])
