"""The caller's end of a session: checks and bounds everything that a caller sends before the coordinator sees it."""

import time
from typing import Protocol

from schemas.audio import SAMPLE_BYTES
from schemas.events import CloseReason
from schemas.media import MAX_CHUNK_MS
from stages.ingress.audio_converter import AudioConverter
from stages.ingress.rate_limit import RateLimiter
from transports.transport import CALLER_AUDIO, AudioFormat, CallerConnection

AUDIO_AHEAD_S = 60.0  # a caller may send a file at once, but not flood the workers that other callers share
SHORTEST_FRAME_S = 0.01  # a frame counts as this long at least: many tiny frames are a flood, too
KEY_S = 0.1  # a text or a key takes this long: a person types no faster
KEYS_AHEAD_S = 3.0  # a number may be pasted at once
MAX_TEXT = 2_000  # characters; a turn keeps this much of the caller's words
DIGITS = frozenset("0123456789*#ABCD")
MAX_FRAME_BYTES = CALLER_AUDIO.bytes_in(MAX_CHUNK_MS)  # of what the coordinator takes
REFUSAL_S, REFUSALS_AHEAD_S = 1.0, 5.0  # five messages at once, then one a second: a flood is not answered in full

BAD_TEXT = f"cannot take this text: a text has 1 to {MAX_TEXT} characters and no control characters. Send it in parts."
BAD_DIGIT = "cannot take this key: a key is one of 0 to 9, *, #, A to D."
KEYS_TOO_FAST = f"cannot take this text or key: at most {1 / KEY_S:.0f} a second are taken. Send it again later."
AUDIO_TOO_FAST = f"cannot take this audio: it is over {AUDIO_AHEAD_S:.0f} s ahead of real time. Send it slower."


def bad_frame(audio: AudioFormat) -> str:
    """Return what a caller with this format reads after its first bad message of audio."""
    channels = "mono" if audio.channels == 1 else "stereo"
    return (
        f"cannot take this audio: a message is {audio.sample_bytes} to {audio.bytes_in(MAX_CHUNK_MS)} bytes"
        f" ({MAX_CHUNK_MS} ms) of whole 16-bit samples, {channels}, {audio.hz} Hz. Send shorter messages, or name"
        " another format in the URL with rate and channels."
    )


class Receives(Protocol):
    """What the caller's end needs of the coordinator. Everything is checked by then."""

    session: str

    def receive_audio(self, pcm: bytes) -> None:
        """Take at most 100 ms of PCM16 mono at 16 kHz."""

    def receive_text(self, text: str) -> None:
        """Take a typed text of 1 to MAX_TEXT characters, without control characters."""

    def receive_digit(self, digit: str) -> None:
        """Take a key."""

    def begin_earlier(self, samples: int) -> None:
        """Move the time of sample 0 back."""

    def hang_up(self, reason: CloseReason, detail: str = "") -> None:
        """End the session."""

    def count(self, reason: str) -> None:
        """Count something refused."""


class CheckedInput:
    """A `CallerInput` for the transport: refused input is counted, and reported to the caller."""

    def __init__(self, coordinator: Receives, connection: CallerConnection, audio: AudioFormat = CALLER_AUDIO) -> None:
        self.session = coordinator.session
        self._coordinator = coordinator
        self._connection = connection
        self._format = audio
        self._converter = AudioConverter(audio)
        self._audio = RateLimiter(AUDIO_AHEAD_S)
        self._keys = RateLimiter(KEYS_AHEAD_S)
        self._refusals = RateLimiter(REFUSALS_AHEAD_S)
        self._reported: set[str] = set()

    def audio(self, pcm: bytes) -> None:
        """Take audio. The first bad frame of a session is reported: a client that sends one sends many."""
        audio = self._format
        if not 0 < len(pcm) <= audio.bytes_in(MAX_CHUNK_MS) or len(pcm) % audio.sample_bytes:
            self._refuse_once("bad_caller_frame", bad_frame(audio))
        elif not self._audio.take(max(len(pcm) / audio.bytes_in(1000), SHORTEST_FRAME_S), time.monotonic()):
            self._refuse_once("caller_too_fast", AUDIO_TOO_FAST)
        else:
            self._receive(self._converter.convert(pcm))

    def prepend_audio(self, pcm: bytes) -> None:
        """Take audio from before the call, and move the time of sample 0 back by its duration."""
        self._coordinator.begin_earlier(len(pcm) // SAMPLE_BYTES)
        for start in range(0, len(pcm), MAX_FRAME_BYTES):
            self.audio(pcm[start : start + MAX_FRAME_BYTES])  # rooms alone have it, in the stages' format

    def text(self, text: str) -> None:
        """Take a typed text, its white space joined."""
        text = " ".join(text.split())
        if not 0 < len(text) <= MAX_TEXT or any(character < " " for character in text):
            self._refuse("bad_text", BAD_TEXT)
        elif self._key():
            self._coordinator.receive_text(text)

    def dtmf(self, digit: str) -> None:
        """Take a key."""
        if digit not in DIGITS:
            self._refuse("bad_digit", BAD_DIGIT)
        elif self._key():
            self._coordinator.receive_digit(digit)

    def hang_up(self, reason: CloseReason = "hangup") -> None:
        """End the session; the first reason counts."""
        self._coordinator.hang_up(reason)

    def _receive(self, pcm: bytes) -> None:
        for start in range(0, len(pcm), MAX_FRAME_BYTES):  # a resampler gives in bursts
            self._coordinator.receive_audio(pcm[start : start + MAX_FRAME_BYTES])

    def _key(self) -> bool:
        """Whether one more text or key may come now: a flood would overload the stages that handle it."""
        if self._keys.take(KEY_S, time.monotonic()):
            return True
        self._refuse("keys_too_fast", KEYS_TOO_FAST)
        return False

    def _refuse(self, counted: str, message: str) -> None:
        self._coordinator.count(counted)
        if self._refusals.take(REFUSAL_S, time.monotonic()):
            self._connection.refuse(message)

    def _refuse_once(self, counted: str, message: str) -> None:
        self._coordinator.count(counted)
        if counted not in self._reported:
            self._reported.add(counted)
            self._connection.refuse(message)
