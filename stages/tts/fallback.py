"""A chain of voices as one synthesizer: when one fails in the middle of a turn, the next goes on at the next word.

Audio of a voice with word times is passed on up to the end of the last whole word. So a voice that dies leaves
no half word, and the backup repeats nothing. Without word times the backup may repeat some words, and it skips none.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, suppress
from dataclasses import dataclass, field

from schemas.audio import AGENT_HZ, SAMPLE_BYTES, ms_to_bytes, samples_to_ms
from schemas.events import Word
from stages.runtime.chain import Failure, InUse, ProviderChain
from stages.runtime.item_timeout import with_item_timeout
from stages.runtime.providers import ProviderError
from stages.tts.continuation import PACE, behind_time, behind_words, measured_pace
from stages.tts.contract import AudioChunk, Capabilities, Synthesizer, SynthesizerProvider, TurnSynthesis
from stages.tts.resampler import Resampler
from stages.tts.segment_audio import sounds
from stages.tts.text_normalization import UNDETERMINED, normalize

STALL_S = 2.5  # a voice with another one behind it: vendors answer in 0.3 s, and callers take 3 s for a lost call
HELD_MS = 1_000  # audio that waits for the end of its word: longer than a long word, and vendors send it in 0.2 s
FAILURES = 2  # in a row, of one voice: later turns of the call begin with the next one
FORGIVEN_S = 120.0  # after which a voice is asked again
CANCEL_WITHIN_S = 0.1

VoiceChain = ProviderChain[SynthesizerProvider, Synthesizer]
Report = Callable[[Failure], None]


@dataclass
class _Sentence:
    """One segment of the turn. rest: the text that the current voice speaks. sent: bytes at 24 kHz, of all voices."""

    text: str
    rest: str = ""
    sent: int = 0
    part: "_Part" = field(default_factory=lambda: _Part())

    def begin(self) -> str:
        """Return the text for the next voice."""
        self.part = _Part(began=self.sent)
        return self.rest


@dataclass
class _Part:
    """The part of a segment that one voice spoke. began: bytes of the segment before it. words: in its ms."""

    began: int = 0
    held: bytes = b""
    words: list[Word] = field(default_factory=list)
    passed: int = 0  # of these words, with their audio
    sounded_ms: float = 0.0  # from the first audible sample
    resampler: Resampler | None = None


class FallbackSynthesizer:
    """The voices of one session. report: called with each failure behind which another voice goes on."""

    def __init__(self, chain: VoiceChain, first: InUse[Synthesizer], report: Report) -> None:
        self.chain = chain
        self.report = report
        self.name = first.choice.provider  # of the voice that speaks, or spoke last
        self.capabilities: Capabilities = first.value.capabilities
        self._paces: dict[int, float] = {}
        self._failures: dict[int, tuple[int, float]] = {}  # index -> failures in a row, when the last one was

    def open_turn(self) -> "FallbackTurn":
        """Begin a turn."""
        return FallbackTurn(self)

    def avoided(self) -> set[int]:
        """Return the voices that failed too often to begin a turn with."""
        now_s = asyncio.get_running_loop().time()
        failures = self._failures.items()
        return {index for index, (times, at_s) in failures if times >= FAILURES and now_s - at_s < FORGIVEN_S}

    def failed(self, used: InUse[Synthesizer], error: ProviderError) -> Failure:
        """Count a failure."""
        times, _ = self._failures.get(used.index, (0, 0.0))
        self._failures[used.index] = times + 1, asyncio.get_running_loop().time()
        return self.chain.failed(used, error)

    def succeeded(self, used: InUse[Synthesizer]) -> None:
        """Note that a voice spoke to the end of a turn."""
        self._failures.pop(used.index, None)
        self.chain.succeeded(used)

    def pace(self, used: InUse[Synthesizer]) -> float:
        """Return a cautious pace of the voice, in letters a ms."""
        return self._paces.get(used.index, PACE)

    def measure(self, used: InUse[Synthesizer], letters: int, sounded_ms: float) -> None:
        """Learn from a sentence that was spoken to its end."""
        self._paces[used.index] = measured_pace(self._paces.get(used.index), letters, sounded_ms)


class FallbackTurn:
    """One turn, in one voice after another."""

    def __init__(self, voices: FallbackSynthesizer) -> None:
        self._voices = voices
        self._sentences: dict[int, _Sentence] = {}  # that have not ended, in order
        self._turn: TurnSynthesis | None = None
        self._ended = self._cancelled = False

    def push(self, segment: int, text: str) -> None:
        """Queue one sentence."""
        self._sentences[segment] = _Sentence(text, rest=text)
        if self._turn:
            self._turn.push(segment, self._sentences[segment].begin())

    def end(self) -> None:
        """Let `chunks` end after the sentences that were pushed."""
        self._ended = True
        if self._turn:
            self._turn.end()

    async def chunks(self) -> AsyncGenerator[AudioChunk, None]:
        """Yield the audio in order. Raises the ProviderError of the last voice."""
        tried = self._voices.avoided()
        error: ProviderError | None = None
        while not self._cancelled:
            used = await self._voices.chain.open_next(tried, self._voices.report)
            if used is None and error is None and tried:  # every voice failed before: ask them again
                tried = set()
                continue
            if used is None:
                raise error or ProviderError("connection", "no voice can be opened", retryable=True)
            self._voices.name = used.choice.provider
            try:
                async with aclosing(self._speak(used)) as spoken:
                    async for chunk in spoken:
                        yield chunk
                self._voices.succeeded(used)
                return
            except ProviderError as failed:
                error = failed
                failure = self._voices.failed(used, failed)
                if not failure.next:
                    raise
                self._voices.report(failure)
                await self._leave()
                for segment in self._go_on(used):
                    yield AudioChunk(b"", AGENT_HZ, segment, last_of_segment=True)

    async def cancel(self) -> None:
        """Stop the voice that speaks."""
        self._cancelled = True
        turn, self._turn = self._turn, None
        if turn:
            await turn.cancel()

    async def _leave(self) -> None:
        """Stop a voice that failed, without waiting for its answer."""
        turn, self._turn = self._turn, None
        if turn:
            with suppress(ProviderError, TimeoutError):
                async with asyncio.timeout(CANCEL_WITHIN_S):
                    await turn.cancel()

    async def _speak(self, used: InUse[Synthesizer]) -> AsyncGenerator[AudioChunk, None]:
        """Speak all sentences that are left with one voice. Raises ProviderError."""
        self._turn = turn = used.value.open_turn()
        for segment, sentence in self._sentences.items():
            turn.push(segment, sentence.begin())
        if self._ended:
            turn.end()
        chunks = turn.chunks()
        another = self._voices.chain.names_another(used.tried)
        if another:
            chunks = _without_stall(chunks)
        async with aclosing(chunks):
            async for chunk in chunks:
                sentence = self._sentences[chunk.segment]
                passed = _pass_on(sentence, chunk, timed=used.value.capabilities.word_times)
                if chunk.last_of_segment:
                    if another and not sentence.part.sounded_ms and normalize(sentence.rest, UNDETERMINED):
                        raise ProviderError("no_audio", "the voice made no sound of the text")
                    self._voices.measure(used, len(sentence.rest), sentence.part.sounded_ms)
                    del self._sentences[chunk.segment]
                if passed:
                    yield passed
        if self._sentences:
            raise ProviderError("server", "the audio ended before its last segment", retryable=True)

    def _go_on(self, used: InUse[Synthesizer]) -> list[int]:
        """Set the text that is left of each sentence. Return the sentences of which nothing is left."""
        done = []
        for segment, sentence in list(self._sentences.items()):
            part = sentence.part
            if used.value.capabilities.word_times and (part.words or not part.sounded_ms):
                sentence.rest = behind_words(sentence.rest, part.words[: part.passed])
            else:
                sentence.rest = behind_time(sentence.rest, part.sounded_ms, self._voices.pace(used))
            if not sentence.rest:
                done.append(segment)
                del self._sentences[segment]
        return done


def _pass_on(sentence: _Sentence, chunk: AudioChunk, *, timed: bool) -> AudioChunk | None:
    """Return what of `chunk` goes on to the caller, at 24 kHz and with words in ms of the whole segment."""
    part = sentence.part
    if part.resampler is None:
        part.resampler = Resampler(chunk.rate)
    part.held += part.resampler.convert(chunk.pcm, last=chunk.last_of_segment)
    shift_ms = _ms(part.began)
    words = tuple(Word(word.text, word.start_ms + shift_ms, word.end_ms + shift_ms) for word in chunk.words)
    part.words += words
    size = len(part.held)
    if timed and not chunk.last_of_segment:
        ends = (ms_to_bytes(word.end_ms, AGENT_HZ) - sentence.sent for word in reversed(part.words))
        whole = next((end for end in ends if end <= size), 0)
        size = max(whole, size - ms_to_bytes(HELD_MS, AGENT_HZ), 0)
    pcm, part.held = part.held[:size], part.held[size:]
    if part.sounded_ms or sounds(pcm):
        part.sounded_ms += _ms(len(pcm))
    sentence.sent += len(pcm)
    said = part.words if chunk.last_of_segment else [word for word in part.words if word.end_ms <= _ms(sentence.sent)]
    new = tuple(said[part.passed :])
    part.passed = len(said)
    if not (pcm or new or chunk.last_of_segment):
        return None
    return AudioChunk(pcm, AGENT_HZ, chunk.segment, chunk.last_of_segment, new)


async def _without_stall(chunks: AsyncGenerator[AudioChunk, None]) -> AsyncGenerator[AudioChunk, None]:
    try:
        async with aclosing(with_item_timeout(chunks, STALL_S)) as timed:
            async for chunk in timed:
                yield chunk
    except TimeoutError:
        raise ProviderError("timeout", f"no audio within {STALL_S:g} s", retryable=True) from None


def _ms(size: int) -> int:
    return samples_to_ms(size // SAMPLE_BYTES, AGENT_HZ)
