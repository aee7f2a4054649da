"""The contract between the stt stage, its recognizers and voice activity detection (VAD).

A recognizer turns one caller's audio into text. The stage feeds it with a plain call for each frame and reads its
outputs from an async iterator, in a task of the session. An iterator was chosen over a callback for three reasons:

- A recognizer fails by raising in that task at once. A callback needs a second way to report a failure.
- Leaving the iterator ends the outputs. No recognizer can publish for a session that is closed.
- An adapter for a vendor's websocket is a plain loop: `async for message in socket: yield HeardFinal(...)`.

The hot path, 50 frames a second, stays a plain call. Outputs come a few times a second and cost one wake-up each.

All positions are samples of the caller's audio at 16 kHz, counted from the beginning of the session.
"""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from schemas.audio import CALLER_HZ
from schemas.events.envelope import Word
from stages.stt.voice_activity import Offset, Onset

# --- outputs of a recognizer ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class HeardSpeechStarted:
    """The recognizer's own VAD found speech. The worker's VAD opens utterances, so the stage only counts this."""

    start_sample: int


@dataclass(frozen=True, slots=True)
class HeardInterim:
    """The text since the last final, as it stands now. A later interim or final replaces it."""

    text: str
    start_sample: int
    until_sample: int


@dataclass(frozen=True, slots=True)
class HeardFinal:
    """Text that does not change any more; empty for audio without words. An utterance may have several finals.

    until_sample: all audio before it is settled. The next final starts there or later.
    end_of_turn: the recognizer's own judgement at this final, None where it has none. True closes the utterance.
    """

    text: str
    start_sample: int
    until_sample: int
    words: tuple[Word, ...] = ()
    end_of_turn: bool | None = None


@dataclass(frozen=True, slots=True)
class HeardEndOfTurn:
    """The recognizer judges that the turn is over. probability: 0 to 1. eager: a guess, which it may take back."""

    at_sample: int
    probability: float
    eager: bool = False


@dataclass(frozen=True, slots=True)
class HeardTurnResumed:
    """The recognizer takes its eager HeardEndOfTurn back: the caller goes on."""

    at_sample: int


Heard = HeardSpeechStarted | HeardInterim | HeardFinal | HeardEndOfTurn | HeardTurnResumed


# --- recognizers ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Capabilities:
    """The abilities of a recognizer with the options of this session.

    streaming: follows the audio by itself; False for one that the segmenting recognizer wraps.
    interims, turn_events, word_times: yields HeardInterim; HeardEndOfTurn; HeardFinal.words.
    force_end: `force_end` makes all audio so far final. The stage calls it at each end of speech, unless the recognizer
    has turn events: then those decide.
    keep_alive: the vendor closes an idle connection, so the adapter sends keep-alive messages while no audio comes.
    rates: sample rates in Hz that the vendor accepts. The stage feeds 16 kHz; an adapter resamples if that is missing.
    final_within_ms: from the end of speech to the final, 99th percentile; None lets the stage measure it.
    """

    streaming: bool = True
    interims: bool = False
    turn_events: bool = False
    word_times: bool = False
    force_end: bool = False
    keep_alive: bool = False
    rates: tuple[int, ...] = (CALLER_HZ,)
    final_within_ms: int | None = None


class Recognizer(Protocol):
    """Recognizes the speech of one caller."""

    @property
    def capabilities(self) -> Capabilities: ...

    def feed(self, pcm: bytes, at_sample: int) -> None:
        """Take PCM16 mono at 16 kHz, usually 20 ms, whose first sample is `at_sample`.

        A plain call that must neither block nor raise. Frames never overlap; `at_sample` jumps where frames were lost.
        """

    def force_end(self) -> None:
        """Make all audio so far final. The stage calls this only if `capabilities.force_end` is set."""

    async def finish(self) -> None:
        """Yield what is still open and then end `heard`: the caller is gone and no more audio comes.

        May return before `heard` ends. The stage waits FINISH_S (0.9 s) for both.
        """

    def heard(self) -> AsyncIterator[Heard]:
        """Yield outputs in the order of the audio. Raises ProviderError as soon as the recognizer fails.

        The stage iterates once, from the opening of the session to its end.
        """


class RecognizerProvider(Protocol):
    """A vendor or an engine, shared by the sessions of a worker. capacity: sessions at once, None for no limit."""

    @property
    def capacity(self) -> int | None: ...

    def open(self, options: Mapping[str, Any], voice: "Voice") -> AbstractAsyncContextManager[Recognizer]:
        """Open a recognizer for one session. Raises ProviderError for options that it does not know.

        options: Any, because each provider checks its own with `parse_options`. That fills an option `language` with
        the agent's language, where the adapter declares one (stages/runtime/options.py).
        voice: the worker's VAD for this caller. A recognizer that streams may ignore it.
        """


class Transcriber(Protocol):
    """Turns a stretch of speech into text: a model without streaming, under the segmenting recognizer."""

    async def __call__(self, pcm: bytes) -> str:
        """Return the words in PCM16 mono at 16 kHz. Raises ProviderError."""


# --- voice activity detection -----------------------------------------------------------------------------------------


class SpeechListener(Protocol):
    """Follows the speech of one caller. Onsets and offsets alternate, an onset first."""

    def speech_started(self, onset: Onset) -> None: ...

    def speech_ended(self, offset: Offset) -> None: ...


class Voice(Protocol):
    """The voice activity of one caller, to be read and followed."""

    @property
    def speaking(self) -> bool: ...

    @property
    def silence(self) -> int:
        """Samples since the last speech of an open utterance; 0 within speech."""

    @property
    def voiced(self) -> int:
        """Samples of speech since the last onset."""

    @property
    def end(self) -> int:
        """The sample after the newest that was fed."""

    def follow(self, listener: SpeechListener, judged: Callable[[int], None] | None = None) -> None:
        """Call `listener` at each onset and offset, in the order of `follow`.

        judged: called after each judged window, behind the listeners, with the sample after that window.
        """


class SpeechDetector(Voice, Protocol):
    """VAD for one caller, as the stage drives it."""

    def feed(self, pcm: bytes, at_sample: int) -> None:
        """Take a frame, as Recognizer.feed. Raises ProviderError if VAD is too far behind."""

    async def catch_up(self) -> None:
        """Wait until all whole windows of the audio so far are judged."""

    def stop(self) -> None:
        """End open speech at once: the caller is gone."""

    def close(self) -> None:
        """Call no listener any more and release the caller's audio."""


class VoiceActivityEngine(Protocol):
    """VAD for all callers of a worker."""

    name: str

    def open(self, fail: Callable[[BaseException], None]) -> SpeechDetector:
        """Return a detector for one caller. Raises ProviderError if the engine has stopped.

        fail: called with the error that ends this caller's session: the engine stopped, or a listener raised.
        """
