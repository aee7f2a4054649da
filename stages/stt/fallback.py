"""One recognizer made of a chain of providers: when one fails, the next hears the audio that has no final yet.

A recognizer fails by raising, or by yielding nothing while the caller speaks, or no final behind the end of speech. The
chain opens the next one. It gets the audio since the last final, faster than real time, with the onsets and offsets of
VAD at their places. Words of the last final are trimmed, should the next recognizer repeat them.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable

from schemas.audio import CALLER_HZ, SAMPLE_BYTES
from schemas.media import MAX_CHUNK_MS
from stages.runtime.chain import Failure, InUse, ProviderChain
from stages.runtime.providers import ProviderError
from stages.stt.contract import Capabilities, Heard, HeardFinal, Recognizer, RecognizerProvider, Voice
from stages.stt.heard_queue import HeardQueue
from stages.stt.relayed_voice import RelayedVoice
from stages.stt.unsettled import Spoken, Unsettled
from stages.stt.voice_activity import Offset, Onset

CHUNK = CALLER_HZ * MAX_CHUNK_MS // 1000  # samples
FASTER = 10  # than real time: 2 s of a sentence are replayed in 0.2 s; vendors refuse bursts of minutes
LATE_MS = 1_500  # beyond `final_within_ms`: with the replay the caller's answer comes within 3 s
MUTE_MS = 4_000  # of speech without an interim: recognizers that have interims yield one each 0.1 to 0.5 s

Chain = ProviderChain[RecognizerProvider, Recognizer]


class FallbackRecognizer:
    """The Recognizer of one caller.

    voice: the worker's VAD for this caller. report: called with each failure behind which another provider goes on.
    switched: called with the provider that goes on. final_within_ms: the present one's, for the deadline of a final.
    """

    def __init__(
        self,
        chain: Chain,
        voice: Voice,
        report: Callable[[Failure], None],
        switched: Callable[[InUse[Recognizer]], None],
        final_within_ms: Callable[[], int],
    ) -> None:
        self._chain = chain
        self._voice = voice
        self._report = report
        self._switched = switched
        self._final_within_ms = final_within_ms
        self._unsettled = Unsettled()
        self._relayed = RelayedVoice(voice)  # of the recognizer that opens or is open
        self._used: InUse[Recognizer] | None = None
        self._outputs = HeardQueue()  # of the recognizer in use
        self._missed: deque[Spoken] | None = None  # speech that is still to be replayed
        self._alive = 0  # sample that was fed when the recognizer last yielded something
        self._finishing = False
        self._timers: set[asyncio.TimerHandle] = set()
        voice.follow(self, self._judged)

    def voice(self) -> RelayedVoice:
        """Return the voice for a recognizer that is about to open."""
        self._relayed = RelayedVoice(self._voice)
        return self._relayed

    def begin_with(self, used: InUse[Recognizer]) -> None:
        """Use the first recognizer of the chain."""
        self._used = used
        self._switched(used)

    # --- Recognizer ---------------------------------------------------------------------------------------------------

    @property
    def capabilities(self) -> Capabilities:
        return self._used.value.capabilities if self._used else Capabilities()

    def feed(self, pcm: bytes, at_sample: int) -> None:
        self._unsettled.audio.append(pcm, at_sample)
        if self._used is not None and self._missed is None:
            self._used.value.feed(pcm, at_sample)
            self._unsettled.fed = self._unsettled.audio.end
            self._unsettled.forget()

    def force_end(self) -> None:
        if self._used is not None and self._missed is None:
            self._used.value.force_end()

    async def finish(self) -> None:
        self._finishing = True
        if self._used is not None and self._missed is None:
            await self._used.value.finish()

    async def heard(self) -> AsyncIterator[Heard]:
        assert self._used is not None, "begin_with comes first"
        while True:
            used = self._used
            self._outputs = HeardQueue()
            tasks = [asyncio.create_task(self._pump(used.value, self._outputs), name="recognizer of the chain")]
            if self._missed is not None:
                tasks.append(asyncio.create_task(self._replay(used.value), name="replay to the recognizer"))
            try:
                async for heard in self._outputs.heard():
                    if (new := self._new(heard)) is not None:
                        yield new
                await tasks[0]  # raises a defect of the adapter
                return
            except ProviderError as error:
                failed = error
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.wait(tasks)
            self._used = await self._next(used, failed)

    def close(self) -> None:
        """Call nothing any more."""
        for timer in self._timers:
            timer.cancel()

    async def _pump(self, recognizer: Recognizer, outputs: HeardQueue) -> None:
        try:
            async for heard in recognizer.heard():
                outputs.put(heard)
            if not self._finishing:
                raise ProviderError("server", "the recognizer ended before the session", retryable=True)
            outputs.end()
        except ProviderError as error:
            outputs.fail(error)
        finally:
            outputs.end()

    def _new(self, heard: Heard) -> Heard | None:
        self._alive = self._unsettled.audio.end
        return self._unsettled.settle(heard) if isinstance(heard, HeardFinal) else heard

    # --- the next provider --------------------------------------------------------------------------------------------

    async def _next(self, used: InUse[Recognizer], error: ProviderError) -> InUse[Recognizer]:
        """Open the next provider and prepare the replay. Raises `error` if none is left."""
        self._used = None
        failure = self._chain.failed(used, error)
        if not failure.next:
            raise error
        self._report(failure)
        following = await self._chain.open_next(used.tried, self._report)
        if following is None:
            raise error
        self._missed = deque(self._unsettled.missed())
        self._unsettled.fed = self._unsettled.begin
        self._alive = self._unsettled.audio.end
        self._switched(following)
        return following

    async def _replay(self, recognizer: Recognizer) -> None:
        """Feed the audio without a final, until the recognizer has caught up with the caller."""
        try:
            await self._catch_up(recognizer)
        except ProviderError as error:
            self._outputs.fail(error)

    async def _catch_up(self, recognizer: Recognizer) -> None:
        assert self._missed is not None
        audio, at = self._unsettled.audio, max(self._unsettled.fed, self._unsettled.audio.start)
        while pcm := audio.cut(at, at + CHUNK):
            recognizer.feed(pcm, at)
            at = self._unsettled.fed = at + len(pcm) // SAMPLE_BYTES
            while self._missed and self._missed[0].reported <= at:
                self._replay_speech(recognizer, self._missed.popleft())
            await asyncio.sleep(MAX_CHUNK_MS / 1000 / FASTER)
        while self._missed:  # reported by VAD within the frame that comes next
            self._replay_speech(recognizer, self._missed.popleft())
        self._missed = None
        if self._finishing:
            await recognizer.finish()

    def _replay_speech(self, recognizer: Recognizer, spoken: Spoken) -> None:
        self._relayed.relay(spoken.heard)
        if isinstance(spoken.heard, Offset):
            capabilities = recognizer.capabilities
            if capabilities.force_end and not capabilities.turn_events:
                recognizer.force_end()
            self._expect_final(spoken.heard)

    # --- voice activity -----------------------------------------------------------------------------------------------

    def speech_started(self, onset: Onset) -> None:
        self._spoken(onset)

    def speech_ended(self, offset: Offset) -> None:
        self._spoken(offset)

    def _spoken(self, heard: Onset | Offset) -> None:
        spoken = Spoken(self._voice.end, heard)
        if self._unsettled.speech or isinstance(heard, Onset):  # an offset alone: its speech has its final already
            self._unsettled.speech.append(spoken)
        if self._missed is not None:
            self._missed.append(spoken)
        elif self._used is not None:
            self._relayed.relay(heard)
            if isinstance(heard, Offset):
                self._expect_final(heard)

    def _judged(self, until: int) -> None:
        if self._used is None or self._missed is not None:
            return
        self._relayed.relay_judged(until)
        speech = self._unsettled.speech
        if self._voice.speaking and speech and self.capabilities.interims and self.capabilities.streaming:
            mute_ms = (until - max(self._alive, speech[-1].heard.at)) * 1000 // CALLER_HZ
            if mute_ms > MUTE_MS:
                self._stalled(f"nothing came within {MUTE_MS} ms of speech")

    def _expect_final(self, offset: Offset) -> None:
        """Give the recognizer in use up unless the words before `offset` come in time."""
        used, within_ms = self._used, self._final_within_ms() + LATE_MS

        def look() -> None:
            self._timers.discard(timer)
            if self._used is used and not self._unsettled.is_settled(offset):
                self._stalled(f"no final came within {within_ms} ms")

        timer = asyncio.get_running_loop().call_later(within_ms / 1000, look)
        self._timers.add(timer)

    def _stalled(self, what: str) -> None:
        """Fail the recognizer in use, if the document names another: a late text is better than none."""
        if self._used is not None and self._chain.names_another(self._used.tried):
            self._outputs.fail(ProviderError("timeout", what, retryable=True))
