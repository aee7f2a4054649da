"""One turn of the agent while it is spoken: pushes its sentences, pulls their audio and sends it to egress."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

from schemas.events import SegmentSynthesized, SentenceReady, TtsProviderFailed
from stages.runtime.context import StageContext
from stages.runtime.inbox import Overloaded
from stages.runtime.item_timeout import with_item_timeout
from stages.runtime.providers import ProviderError
from stages.tts.agent_audio import AgentAudio
from stages.tts.contract import AudioChunk, Synthesizer, TurnSynthesis
from stages.tts.segment_audio import SegmentAudio
from stages.tts.text_normalization import UNDETERMINED, normalize

CHUNK_WITHIN_S = 10.0  # a voice silent for this long has failed; the slowest measured engine needs about 2 s
SILENCE_MS = 10_000  # the same bound for a voice whose chunks hold only silence
CANCEL_WITHIN_S = 1.0  # an adapter takes 100 ms; a vendor that hangs must not keep the task of a finished turn
MAX_WAITING = 500  # sentences of one turn: half an hour of speech


class Speech:
    """The sentences of one turn and their synthesis. Publishes one SegmentSynthesized for each segment with text.

    voice: returns the name of the provider that speaks. refusal: ends the turn at once, before any text is sent.
    measured: called with each SegmentSynthesized.
    failure: the error that ended the turn, or that left all of its text without audio.
    closing: only the vendor's work is still to be stopped.
    """

    def __init__(
        self,
        turn: int,
        session: StageContext,
        output: AgentAudio,
        voice: Callable[[], str],
        synthesizer: Synthesizer,
        refusal: ProviderError | None = None,
        *,
        measured: Callable[[SegmentSynthesized], None],
    ) -> None:
        self.turn = turn
        self.failure: ProviderError | None = None
        self.closing = False
        self._session = session
        self._output = output
        self._voice = voice
        self._synthesizer = synthesizer
        self._synthesis: TurnSynthesis | None = None  # None until `run` has opened it
        self._refusal = refusal
        self._measured = measured
        self._sentences: deque[SentenceReady] = deque()
        self._came = asyncio.Event()  # a sentence
        self._sentence: SentenceReady | None = None  # the one that is spoken
        self._audio = SegmentAudio()  # of this sentence
        self._audible = False  # some audio of the turn was not silence
        self._reported: ProviderError | None = None  # published as tts.provider_failed
        self._ended = False  # the end of the turn was sent to egress

    @property
    def spoke(self) -> bool:
        """Whether the caller got sound, and no failure."""
        return self._audible and self.failure is None

    def push(self, sentence: SentenceReady) -> None:
        """Give one sentence to the synthesizer. Raises Overloaded, which ends the session."""
        if self._ended:
            self._publish_segment(sentence, 0)
            return
        if len(self._sentences) >= MAX_WAITING:
            raise Overloaded(f"{MAX_WAITING} sentences of one turn wait for the synthesizer")
        self._sentences.append(sentence)
        self._came.set()
        if self._synthesis:
            _push(self._synthesis, sentence)

    async def run(self) -> None:
        """Speak the turn to its end. Cancelling the task stops the synthesis.

        Raises TimeoutError, which ends the session, if no worker owns egress.
        """
        await self._output.egress_known()
        if self._refusal:
            self._give_up(self._refusal)
            return
        self._synthesis = synthesis = self._synthesizer.open_turn()
        try:
            for waiting in self._sentences:
                _push(synthesis, waiting)
            async with aclosing(_within_deadline(synthesis.chunks())) as chunks:
                while not self._ended:
                    await self._speak(await self._next(), chunks)
            self.failure = None if self._audible else self._reported
        except ProviderError as error:
            self.failure = error
            self._give_up(error)
        finally:
            self.closing = True
            await self._cancel(synthesis)

    async def _next(self) -> SentenceReady:
        while not self._sentences:
            self._came.clear()
            await self._came.wait()
        return self._sentences.popleft()

    async def _speak(self, sentence: SentenceReady, chunks: AsyncGenerator[AudioChunk, None]) -> None:
        """Pull and send the audio of one sentence. Raises ProviderError."""
        since_ms = self._session.now_ms()
        self._sentence, self._audio = sentence, SegmentAudio()
        audio = self._audio
        first_audio_ms: int | None = None
        if sentence.text:
            async for chunk in chunks:
                if chunk.segment != sentence.segment:
                    raise ValueError(f"{self._voice()}: audio of segment {chunk.segment} within {sentence.segment}")
                pcm = audio.take(chunk)
                if pcm:
                    first = first_audio_ms is None
                    if first_audio_ms is None:
                        first_audio_ms = self._session.now_ms() - since_ms
                    self._audible = self._audible or audio.audible
                    await self._output.send(self.turn, sentence.segment, pcm, first=first)
                if chunk.last_of_segment:
                    break
                if not audio.audible and audio.duration_ms > SILENCE_MS:
                    raise _no_audio()
            else:
                raise ProviderError("server", "the audio ended before its last segment", retryable=True)
            self._judge(sentence.text, audio)
        self._output.end_segment(self.turn, sentence.segment, last_of_turn=sentence.last)
        self._ended = sentence.last
        self._publish_segment(sentence, audio.duration_ms, first_audio_ms or 0)

    def _judge(self, text: str, audio: SegmentAudio) -> None:
        """Report a sentence without audio, once a turn: the next one may have some. Raises ProviderError for silence.

        Silence ends the turn because egress plays it: text behind it would count as heard too early.
        """
        if not audio.audible and normalize(text, UNDETERMINED):
            if audio.samples:
                raise _no_audio()
            self._report(_no_audio())

    def _give_up(self, error: ProviderError) -> None:
        """End the turn with the audio that was sent: egress must not wait for more."""
        segment = self._sentence.segment if self._sentence else 0
        self._ended = True
        self._output.end_segment(self.turn, segment, last_of_turn=True)
        self._report(error)
        if self._sentence and not self._audio.audible:
            self._publish_segment(self._sentence, 0)
        while self._sentences:
            self._publish_segment(self._sentences.popleft(), 0)

    def _report(self, error: ProviderError) -> None:
        if not self._reported:
            self._reported = error
            self._session.publish(
                TtsProviderFailed(
                    turn=self.turn,
                    provider=self._voice(),
                    kind=error.kind,
                    message=str(error),
                    retryable=error.retryable,
                )
            )

    def _publish_segment(self, sentence: SentenceReady, duration_ms: int, first_audio_ms: int = 0) -> None:
        """Publish how long a sentence sounds. 0 ms of an unspoken one keeps its text out of the history."""
        if sentence.text:
            spoken = duration_ms > 0
            synthesized = SegmentSynthesized(
                turn=self.turn,
                segment=sentence.segment,
                duration_ms=duration_ms,
                first_audio_ms=first_audio_ms,
                words=self._audio.words if spoken else (),
                provider=self._voice(),
                characters=len(sentence.text) if spoken else 0,
            )
            self._session.publish(synthesized)
            self._measured(synthesized)

    async def _cancel(self, synthesis: TurnSynthesis) -> None:
        """Stop the vendor's work; the turn is over whether or not that succeeds."""
        try:
            async with asyncio.timeout(CANCEL_WITHIN_S):
                await synthesis.cancel()
        except (TimeoutError, ProviderError):
            self._session.count("cancel_failed")


def _push(synthesis: TurnSynthesis, sentence: SentenceReady) -> None:
    if sentence.text:
        synthesis.push(sentence.segment, sentence.text)
    if sentence.last:
        synthesis.end()


async def _within_deadline(chunks: AsyncGenerator[AudioChunk, None]) -> AsyncGenerator[AudioChunk, None]:
    """Yield `chunks`. Raises ProviderError also if one does not come within CHUNK_WITHIN_S of being asked for."""
    try:
        async with aclosing(with_item_timeout(chunks, CHUNK_WITHIN_S)) as timed:
            async for chunk in timed:
                yield chunk
    except TimeoutError:
        raise ProviderError("timeout", f"no audio within {CHUNK_WITHIN_S:g} s", retryable=True) from None


def _no_audio() -> ProviderError:
    return ProviderError("no_audio", "the voice made no sound of the text: it may lack this language or script")
