"""The contract between the tts stage and its synthesizers.

A synthesizer speaks one turn at a time. The stage pushes sentences as they come and pulls audio with `async for`. It
stops pulling when playback is 5 s behind, so a synthesizer reads from its vendor only while the stage pulls. These
kinds of vendor fit:

- Contexts on one shared websocket (Cartesia, ElevenLabs): a turn is a context, a segment ends at a flush mark.
- One websocket a turn (Deepgram Aura): a segment ends when the vendor confirms the flush.
- One request a sentence (OpenAI, an engine on this machine): stages/tts/sentence_synthesizer.py wraps it.
"""

from collections.abc import AsyncGenerator, Mapping
from contextlib import AbstractAsyncContextManager, aclosing
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from schemas.audio import AGENT_HZ
from schemas.events import Word


@dataclass(frozen=True, slots=True)
class AudioChunk:
    """A piece of the audio of one segment.

    pcm: PCM16 mono at `rate` samples a second, in whole samples, of any length. One rate for all chunks of a segment.
    last_of_segment: no more audio of this segment follows; `pcm` may then be empty. Every segment has one such chunk.
    words: words whose times became known with this chunk, in milliseconds from the start of the segment.
    """

    pcm: bytes
    rate: int
    segment: int
    last_of_segment: bool = False
    words: tuple[Word, ...] = ()


@dataclass(frozen=True, slots=True)
class Capabilities:
    """The abilities of a synthesizer with the options of this session.

    rates: sample rates in Hz that the vendor offers; the adapter asks for 24 kHz if that is among them.
    word_times: chunks carry words. multiplexed: the turns of several sessions share one connection.
    cancel: the way in which the vendor learns of a cancel: by a message, by a closed connection, or, for an engine on
    this machine, because no further work is begun.
    languages: codes such as "en" of the languages that this voice speaks; empty if the adapter does not know.
    """

    rates: tuple[int, ...] = (AGENT_HZ,)
    word_times: bool = False
    multiplexed: bool = False
    cancel: Literal["message", "close", "stop"] = "close"
    languages: tuple[str, ...] = ()


class TurnSynthesis(Protocol):
    """The synthesis of one turn of one session."""

    def push(self, segment: int, text: str) -> None:
        """Take the text of one segment, which is one sentence. Segments come in rising order, each once and whole.

        A plain call that must neither block nor raise: an adapter queues the text, and a failure is raised by `chunks`.
        """

    def end(self) -> None:
        """Take no more text: the last segment was pushed. `chunks` ends after its last chunk."""

    def chunks(self) -> AsyncGenerator[AudioChunk, None]:
        """Yield the audio of all segments in order. Raises ProviderError.

        The stage iterates once. A text with nothing that the voice can say gives one empty chunk with
        `last_of_segment`. An adapter that receives more than the stage pulls keeps a bounded part of it.
        """

    async def cancel(self) -> None:
        """Stop the vendor's work on this turn, and its billing, within 100 ms. No chunk comes after.

        The stage calls this at the end of every turn, after it left `chunks` by closing the generator or by a
        cancelled task. After the last chunk there is nothing left to stop. A second call does nothing.
        """


class Synthesizer(Protocol):
    """The voice of one session."""

    @property
    def capabilities(self) -> Capabilities: ...

    def open_turn(self) -> TurnSynthesis:
        """Begin a turn. A plain call: connecting is the work of `chunks`. The turn before may still be in `cancel`."""


class SynthesizerProvider(Protocol):
    """A vendor or an engine, shared by the sessions of a worker. capacity: sessions at once, None for no limit."""

    capacity: int | None

    def open(self, options: Mapping[str, Any]) -> AbstractAsyncContextManager[Synthesizer]:
        """Open the voice of one session. Raises ProviderError for options that it does not know.

        options: Any, because each provider checks its own with `parse_options`. That fills an option `language` with
        the agent's language, where the adapter declares one (stages/runtime/options.py).
        """


async def speak_text(synthesizer: Synthesizer, text: str) -> AsyncGenerator[AudioChunk, None]:
    """Yield the audio of one text, as a turn of its own. Raises ProviderError. Closing this cancels the turn."""
    turn = synthesizer.open_turn()
    turn.push(0, text)
    turn.end()
    try:
        async with aclosing(turn.chunks()) as chunks:
            async for chunk in chunks:
                yield chunk
    finally:
        await turn.cancel()
