"""The agent's voice: turns sentences into audio, sentence after sentence, a little ahead of the caller's ear."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any, ClassVar, cast

from schemas.audio import AGENT_HZ, SAMPLE_BYTES, ms_to_bytes, samples_to_ms
from schemas.events import (
    Event,
    OwnerChanged,
    Paused,
    PlaybackStarted,
    Resumed,
    SegmentSynthesized,
    SentenceReady,
    SessionOpened,
    TtsProviderFailed,
    TurnCancelled,
    TurnStarted,
)
from schemas.media import MAX_CHUNK_MS, Flag
from schemas.subjects import EGRESS
from stages.runtime.context import StageContext
from stages.runtime.item_timeout import with_item_timeout
from stages.runtime.providers import ProviderError, Providers, Synthesizer, SynthesizerProvider
from stages.runtime.stage import handles
from stages.tts.credit import Credit

PIECE_WITHIN_S = 10.0  # a voice silent for this long has failed; the slowest measured engine needs about 2 s
OWNER_WITHIN_S = 5.0  # llm may speak before ingress is heard to say where egress is, but not for long

_CHUNK_BYTES = ms_to_bytes(MAX_CHUNK_MS, AGENT_HZ)
_END_OF_SEGMENT = Flag.LAST_OF_SEGMENT
_END_OF_TURN = Flag.LAST_OF_SEGMENT | Flag.LAST_OF_TURN


class Voice:
    """Speaks the sentences of one call.

    A segment ends with an empty chunk that carries its flags: so the first audio need not wait to know what follows.
    """

    publishes: ClassVar[tuple[type[Event], ...]] = (SegmentSynthesized, TtsProviderFailed)

    def __init__(self, call: StageContext, provider: str, synthesizer: Synthesizer) -> None:
        self._call = call
        self._provider = provider
        self._synthesizer = synthesizer
        self._turn = 0  # the one being spoken
        self._failed_turn = 0  # its audio has ended already
        self._credit = Credit()
        self._speaking: asyncio.Task[Any] | None = None  # what speaks now
        self._hushed = False  # it was told to stop
        self._moved = asyncio.Event()  # egress or ingress said something that a wait depends on
        self._at = 0  # samples sent in all

    @handles(SentenceReady)
    async def speak(self, sentence: SentenceReady) -> None:
        """Speak it to its end, or until hushed."""
        if sentence.turn == self._failed_turn:
            return
        if sentence.turn != self._turn:
            self._turn, self._credit = sentence.turn, Credit()
        self._speaking = task = asyncio.current_task()
        assert task is not None
        try:
            await self._speak(sentence)
        except asyncio.CancelledError:
            if not self._hushed or task.cancelling() > 1:  # the call is over
                raise
        finally:
            if self._hushed:
                task.uncancel()  # it goes on with what comes after
            self._speaking, self._hushed = None, False

    @handles(TurnStarted)
    def hush_before(self, turn: TurnStarted) -> None:
        """Everything below the turn is cancelled."""
        self._hush_below(turn.turn)

    @handles(TurnCancelled)
    def hush(self, turn: TurnCancelled) -> None:
        """No more of this turn; its sentences that still wait are dropped by the session's gate."""
        self._hush_below(turn.turn + 1)

    @handles(PlaybackStarted, Paused, Resumed)
    def reckon(self, played: PlaybackStarted | Paused | Resumed) -> None:
        """The caller's ear moves, or stands still."""
        if played.turn != self._turn:
            return
        if isinstance(played, Paused):
            self._credit.paused(played.heard_ms)
        elif isinstance(played, Resumed):
            self._credit.resumed(played.heard_ms, self._call.now_ms())
        else:
            self._credit.started(self._call.now_ms())
        self._moved.set()

    @handles(SessionOpened, OwnerChanged)
    def meet(self, owned: SessionOpened | OwnerChanged) -> None:
        """Where egress is may have changed; the session has noted it."""
        self._moved.set()

    def _hush_below(self, turn: int) -> None:
        if self._speaking is not None and self._turn < turn and not self._hushed:
            self._hushed = True
            self._speaking.cancel()

    async def _speak(self, sentence: SentenceReady) -> None:
        since_ms = self._call.now_ms()
        first_audio_ms: int | None = None
        samples = 0
        if EGRESS not in self._call.owners:
            await self._owner()
        try:
            async with aclosing(self._pieces(sentence.text)) as pieces:
                async for piece in pieces:
                    if first_audio_ms is None:
                        first_audio_ms = self._call.now_ms() - since_ms
                    await self._send(sentence, piece, first=samples == 0)
                    samples += len(piece) // SAMPLE_BYTES
        except ProviderError as error:
            self._give_up(sentence, error)
            return
        self._send_chunk(sentence, b"", _END_OF_TURN if sentence.last else _END_OF_SEGMENT)
        if sentence.text:
            duration_ms = samples_to_ms(samples, AGENT_HZ)
            self._call.publish(
                SegmentSynthesized(
                    turn=sentence.turn,
                    segment=sentence.segment,
                    duration_ms=duration_ms,
                    first_audio_ms=first_audio_ms or 0,
                )
            )

    async def _pieces(self, text: str) -> AsyncGenerator[bytes, None]:
        """What the synthesizer yields, each piece within its deadline; raises ProviderError."""
        if not text:
            return
        # every synthesizer is an async generator: the Protocol asks only for what is said of it
        stream = cast(AsyncGenerator[bytes, None], self._synthesizer.synthesize(text))
        try:
            async with aclosing(with_item_timeout(stream, PIECE_WITHIN_S)) as pieces:
                async for piece in pieces:
                    if piece:
                        yield piece
        except TimeoutError:
            raise ProviderError("timeout", f"no audio within {PIECE_WITHIN_S:g} s", retryable=True) from None

    async def _send(self, sentence: SentenceReady, piece: bytes, *, first: bool) -> None:
        for start in range(0, len(piece), _CHUNK_BYTES):
            await self._afford()
            flags = Flag.FIRST_OF_SEGMENT if first and start == 0 else Flag.NONE
            self._send_chunk(sentence, piece[start : start + _CHUNK_BYTES], flags)

    def _send_chunk(self, sentence: SentenceReady, pcm: bytes, flags: int) -> None:
        samples = len(pcm) // SAMPLE_BYTES
        self._credit.spend(samples * 1000 / AGENT_HZ, self._call.now_ms())
        egress = self._call.owners[EGRESS].worker
        self._call.send(egress, pcm, AGENT_HZ, at=self._at, turn=sentence.turn, segment=sentence.segment, flags=flags)
        self._at += samples

    async def _afford(self) -> None:
        """Returns when the caller has caught up. A caller who speaks over it may take any time: egress decides."""
        while (wait_ms := self._credit.wait_ms(self._call.now_ms())) > 0:
            self._moved.clear()
            try:
                async with asyncio.timeout(min(wait_ms / 1000, PIECE_WITHIN_S)):
                    await self._moved.wait()
            except TimeoutError:
                continue

    async def _owner(self) -> None:
        """Returns when it is known where egress is; raises TimeoutError that ends the call."""
        try:
            async with asyncio.timeout(OWNER_WITHIN_S):
                while EGRESS not in self._call.owners:
                    self._moved.clear()
                    await self._moved.wait()
        except TimeoutError:
            raise TimeoutError(f"nobody said within {OWNER_WITHIN_S:g} s which worker owns egress") from None

    def _give_up(self, sentence: SentenceReady, error: ProviderError) -> None:
        """The turn ends here, with what was said of it: egress must not wait for the rest."""
        self._failed_turn = sentence.turn
        self._send_chunk(sentence, b"", _END_OF_TURN)
        self._call.publish(
            TtsProviderFailed(
                turn=sentence.turn,
                provider=self._provider,
                kind=error.kind,
                message=str(error),
                retryable=error.retryable,
            )
        )


STAGE = Voice


@asynccontextmanager
async def open_worker(providers: Providers[SynthesizerProvider]) -> AsyncIterator[Providers[SynthesizerProvider]]:
    """What the calls of a worker share: its providers."""
    yield providers


@asynccontextmanager
async def open_session(call: StageContext, providers: Providers[SynthesizerProvider]) -> AsyncIterator[Voice]:
    """The voice of one call. Raises ProviderMissing or ProviderError."""
    choice = call.agent.tts
    provider = await providers.get(choice.provider)
    async with provider.open(choice.options) as synthesizer:
        yield Voice(call, choice.provider, synthesizer)
