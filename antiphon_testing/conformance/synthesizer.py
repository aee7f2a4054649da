"""The conformance suite of synthesizers: each provider passes it against its engine or a stand-in for its vendor.

    class TestAcme(SynthesizerConformance):
        @pytest.fixture(autouse=True)
        def _vendor(self) -> Iterator[None]: ...  # start the stand-in

        def open(self) -> AbstractAsyncContextManager[Synthesizer]: ...
        def work(self) -> int: ...
        def failing(self) -> AbstractContextManager[None]: ...

The tests run by the real clock, because an engine may work in a thread.
"""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, AbstractContextManager, aclosing

from schemas.audio import SAMPLE_BYTES
from stages.runtime.providers import ProviderError
from stages.tts.contract import AudioChunk, Synthesizer, TurnSynthesis

SENTENCES = ("We open at nine.", "On Sunday we are closed.", "Is there anything else?")
NOTHING_TO_SAY = ("...", "👍", "—")
CANCEL_WITHIN_S = 0.1
WITHIN_S = 60.0  # for a whole text: a local engine on a busy machine
SETTLE_S = 0.5  # in which a vendor fills its buffers, or learns of a cancel
STILL_S = 0.5  # in which it then must not work


class SynthesizerConformance:
    """Checks a synthesizer against stages/tts/contract.py. A subclass opens it and shows what its vendor does.

    long_text: a text whose audio does not fit into the buffers between the vendor and the adapter.
    """

    long_text = " ".join(f"Room number {number} has a view of the harbor and a balcony." for number in range(2, 42))

    # --- a subclass gives these -----------------------------------------------------------------------------------

    def open(self) -> AbstractAsyncContextManager[Synthesizer]:
        """Open the voice of one session."""
        raise NotImplementedError

    def work(self) -> int:
        """Return how much the vendor has done since the test began: pieces, requests or bytes."""
        raise NotImplementedError

    def failing(self) -> AbstractContextManager[None]:
        """Make the vendor fail as long as the context is open."""
        raise NotImplementedError

    # --- order and marks --------------------------------------------------------------------------------------------

    async def test_segments_come_in_order_and_each_ends_with_one_mark(self) -> None:
        async with self.open() as synthesizer:
            chunks = await _speak(synthesizer, *SENTENCES)
        assert [chunk.segment for chunk in chunks] == sorted(chunk.segment for chunk in chunks)
        for segment in range(len(SENTENCES)):
            marks = [chunk.last_of_segment for chunk in chunks if chunk.segment == segment]
            assert marks == [False] * (len(marks) - 1) + [True]
            assert _pcm(chunks, segment), f"segment {segment} has no audio"

    async def test_a_sentence_that_comes_late_is_spoken(self) -> None:
        async with self.open() as synthesizer:
            turn = synthesizer.open_turn()
            turn.push(0, SENTENCES[0])
            chunks = []
            async with aclosing(turn.chunks()) as stream, asyncio.timeout(WITHIN_S):
                async for chunk in stream:
                    chunks.append(chunk)
                    if chunk.last_of_segment and chunk.segment == 0:
                        asyncio.get_running_loop().call_later(0.05, _push_last, turn, 1, SENTENCES[1])
            await turn.cancel()
        assert _pcm(chunks, 1)
        assert [chunk.segment for chunk in chunks if chunk.last_of_segment] == [0, 1]

    async def test_a_turn_without_text_ends_without_audio(self) -> None:
        async with self.open() as synthesizer:
            assert await _speak(synthesizer) == []

    async def test_a_text_with_nothing_to_say_is_a_segment_that_ends(self) -> None:
        async with self.open() as synthesizer:
            chunks = await _speak(synthesizer, *NOTHING_TO_SAY, SENTENCES[0])
        assert [chunk.segment for chunk in chunks if chunk.last_of_segment] == list(range(len(NOTHING_TO_SAY) + 1))
        assert _pcm(chunks, len(NOTHING_TO_SAY))

    async def test_a_long_text_is_spoken_to_its_end(self) -> None:
        async with self.open() as synthesizer:
            short = await _speak(synthesizer, SENTENCES[0])
            long = await _speak(synthesizer, f"{SENTENCES[0]} " * 20)
        assert len(_pcm(long, 0)) > 10 * len(_pcm(short, 0))

    async def test_two_sessions_keep_their_audio_apart(self) -> None:
        async with self.open() as one, self.open() as other:
            alone = await _speak(one, SENTENCES[0]), await _speak(other, SENTENCES[1])
            together = await asyncio.gather(_speak(one, SENTENCES[0]), _speak(other, SENTENCES[1]))
        for expected, found in zip(alone, together, strict=True):
            assert len(_pcm(found, 0)) == len(_pcm(expected, 0))

    # --- audio ------------------------------------------------------------------------------------------------------

    async def test_audio_is_whole_samples_at_a_declared_rate(self) -> None:
        async with self.open() as synthesizer:
            chunks = await _speak(synthesizer, *SENTENCES)
            rates = synthesizer.capabilities.rates
        assert all(len(chunk.pcm) % SAMPLE_BYTES == 0 for chunk in chunks)
        assert {chunk.rate for chunk in chunks} <= set(rates)
        assert len({(chunk.segment, chunk.rate) for chunk in chunks}) == len(SENTENCES)

    async def test_word_times_rise_within_their_segment(self) -> None:
        async with self.open() as synthesizer:
            chunks = await _speak(synthesizer, *SENTENCES)
            has_words = synthesizer.capabilities.word_times
        for segment, text in enumerate(SENTENCES):
            words = [word for chunk in chunks if chunk.segment == segment for word in chunk.words]
            assert bool(words) == has_words
            times = [time for word in words for time in (word.start_ms, word.end_ms)]
            assert times == sorted(times)
            assert all(word.text in text for word in words)
            ms = len(_pcm(chunks, segment)) * 1000 // SAMPLE_BYTES // chunks[0].rate
            assert not times or (times[0] >= 0 and times[-1] <= ms)

    # --- pull and cancel --------------------------------------------------------------------------------------------

    async def test_the_vendor_stands_still_while_the_stage_does_not_pull(self) -> None:
        async with self.open() as synthesizer:
            turn = _turn(synthesizer, self.long_text)
            async with aclosing(turn.chunks()) as chunks:
                await _first(chunks)
                await asyncio.sleep(SETTLE_S)
                before = self.work()
                await asyncio.sleep(STILL_S)
                assert self.work() == before
                assert (await _first(chunks)).pcm, "the audio does not go on"
            await turn.cancel()

    async def test_a_cancel_between_chunks_stops_the_vendor(self) -> None:
        async with self.open() as synthesizer:
            turn = _turn(synthesizer, self.long_text, SENTENCES[1])
            chunks = turn.chunks()
            await _first(chunks)
            began = time.monotonic()
            await chunks.aclose()
            await turn.cancel()
            assert time.monotonic() - began < CANCEL_WITHIN_S
            await self._stands_still_and_speaks_again(synthesizer, turn)

    async def test_a_cancel_while_the_stage_waits_for_a_chunk_stops_the_vendor(self) -> None:
        async with self.open() as synthesizer:
            turn = _turn(synthesizer, self.long_text, SENTENCES[1])
            waiting = asyncio.create_task(_all(turn))
            await asyncio.sleep(0.01)
            began = time.monotonic()
            waiting.cancel()
            await asyncio.wait({waiting})
            await turn.cancel()
            assert time.monotonic() - began < CANCEL_WITHIN_S
            assert waiting.cancelled()
            await self._stands_still_and_speaks_again(synthesizer, turn)

    async def test_a_turn_that_is_cancelled_before_it_is_read_gives_nothing(self) -> None:
        async with self.open() as synthesizer:
            turn = _turn(synthesizer, self.long_text)
            await turn.cancel()
            assert await _all(turn) == []
            await self._stands_still_and_speaks_again(synthesizer, turn)

    async def _stands_still_and_speaks_again(self, synthesizer: Synthesizer, cancelled: TurnSynthesis) -> None:
        await asyncio.sleep(SETTLE_S)
        before = self.work()
        await asyncio.sleep(STILL_S)
        assert self.work() == before
        await cancelled.cancel()
        assert _pcm(await _speak(synthesizer, SENTENCES[2]), 0)

    # --- failure ----------------------------------------------------------------------------------------------------

    async def test_a_failure_is_a_provider_error_and_the_next_turn_is_spoken(self) -> None:
        async with self.open() as synthesizer:
            with self.failing():
                failure = await _failure(_turn(synthesizer, SENTENCES[0]))
            assert failure is not None, "the vendor failed, and no ProviderError was raised"
            assert SENTENCES[0] not in str(failure), "the message holds the text"
            assert _pcm(await _speak(synthesizer, SENTENCES[0]), 0)


def _turn(synthesizer: Synthesizer, *texts: str) -> TurnSynthesis:
    turn = synthesizer.open_turn()
    for segment, text in enumerate(texts):
        turn.push(segment, text)
    turn.end()
    return turn


def _push_last(turn: TurnSynthesis, segment: int, text: str) -> None:
    turn.push(segment, text)
    turn.end()


async def _speak(synthesizer: Synthesizer, *texts: str) -> list[AudioChunk]:
    turn = _turn(synthesizer, *texts)
    try:
        return await _all(turn)
    finally:
        await turn.cancel()


async def _all(turn: TurnSynthesis) -> list[AudioChunk]:
    async with aclosing(turn.chunks()) as chunks, asyncio.timeout(WITHIN_S):
        return [chunk async for chunk in chunks]


async def _failure(turn: TurnSynthesis) -> ProviderError | None:
    try:
        await _all(turn)
    except ProviderError as error:
        return error
    finally:
        await turn.cancel()
    return None


async def _first(chunks: AsyncGenerator[AudioChunk, None]) -> AudioChunk:
    async with asyncio.timeout(WITHIN_S):
        return await anext(chunks)


def _pcm(chunks: list[AudioChunk], segment: int) -> bytes:
    return b"".join(chunk.pcm for chunk in chunks if chunk.segment == segment)
