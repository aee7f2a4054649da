"""A recogniser that hears given texts: it tells loud from silent only, so that it works through every transport.

Asked for voice activity it tells speech from silence as the local recogniser does, with the detector that all callers
of the worker share: what that costs can be measured without the cost of reading words. When words are final it knows
by itself, from the sound, as a recogniser does that is a service elsewhere.
"""

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from schemas.audio import CALLER_HZ, SAMPLE_BYTES, samples_to_ms
from schemas.events import SpeechEnded, SpeechStarted, TranscriptFinal, TranscriptInterim
from stages.runtime.providers import Hear, ProviderContext, ProviderMissing, parse_options
from stages.stt.audio_buffer import AudioBuffer
from stages.stt.silero import Detector, Memory, load
from stages.stt.voice_activity import WINDOW, Offset, Onset, VoiceActivity

LOUD = 328  # 1 % of full scale: above the dither of converters, below any speech

Delay = Annotated[int, Field(ge=0, le=60_000)]


def loud(pcm: bytes) -> bool:
    """Whether any sample of PCM16 is."""
    if pcm.count(0) == len(pcm):  # most frames of a silent line, told without numpy
        return False
    samples = np.frombuffer(pcm, "<i2")
    return bool(samples.max() > LOUD or samples.min() < -LOUD)


def loud_samples(pcm: bytes) -> list[int]:
    """The positions of those that are, ascending."""
    found: list[int] = np.flatnonzero(np.abs(np.frombuffer(pcm, "<i2").astype(np.int32)) > LOUD).tolist()
    return found


class Options(BaseModel):
    """texts: given in turn, again and again; "" is a wordless noise. Delays count from the audio that causes them.

    voice_activity: the shared detector finds speech, and tells its end after 250 ms of silence. The final comes
    `final_ms` after the sound, or after that end if the sound was over before it was known for speech.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    texts: Annotated[list[str], Field(min_length=1)] = ["Hello."]
    final_ms: Delay = 100
    interim_ms: Delay | None = None
    ends_turn: bool | None = True
    voice_activity: bool = False


class Script:
    """One caller: an utterance starts at the first loud sample and ends with the first silent frame after it."""

    def __init__(self, options: Options, hear: Hear) -> None:
        self._options = options
        self._hear = hear
        self._loop = asyncio.get_running_loop()
        self._started: SpeechStarted | None = None  # of the open utterance
        self._utterance = 0
        self._loud = b"", 0  # the last loud frame and its first sample
        self._interim: asyncio.TimerHandle | None = None
        self._finals: dict[int, tuple[asyncio.TimerHandle, TranscriptFinal]] = {}

    def feed(self, pcm: bytes, at: int) -> None:
        if loud(pcm):
            self._loud = pcm, at
            if self._started is None:
                self._start(at + loud_samples(pcm)[0])
        elif self._started is not None and pcm:
            self._end(at + len(pcm) // SAMPLE_BYTES)

    async def finish(self) -> None:
        if self._started is not None:
            self._end(self._spoken_until())
        for utterance, (timer, _) in list(self._finals.items()):
            timer.cancel()
            self._say_final(utterance)

    def close(self) -> None:
        """Say nothing any more."""
        for timer in [self._interim, *(timer for timer, _ in self._finals.values())]:
            if timer is not None:
                timer.cancel()

    def _start(self, at: int) -> None:
        self._started = SpeechStarted(utterance=self._utterance, start_sample=at)
        self._hear(self._started)
        if self._options.interim_ms is not None and self._text:
            self._interim = self._loop.call_later(self._options.interim_ms / 1000, self._say_interim, self._started)

    def _end(self, now: int) -> None:
        assert self._started is not None
        at, final_ms = self._spoken_until(), self._options.final_ms
        silence_ms = samples_to_ms(now - at, CALLER_HZ)
        self._hear(
            SpeechEnded(utterance=self._utterance, until_sample=at, silence_ms=silence_ms, final_within_ms=final_ms)
        )
        self._promise_final(at)
        self._started = None
        self._utterance += 1

    def _promise_final(self, until: int) -> None:
        assert self._started is not None
        final = TranscriptFinal(
            utterance=self._utterance,
            text=self._text,
            start_sample=self._started.start_sample,
            until_sample=until,
            end_of_turn=self._options.ends_turn,
        )
        timer = self._loop.call_later(self._options.final_ms / 1000, self._say_final, self._utterance)
        self._finals[self._utterance] = timer, final
        if self._interim is not None:
            self._interim.cancel()

    def _say_interim(self, started: SpeechStarted) -> None:
        until = self._spoken_until()
        self._hear(
            TranscriptInterim(
                utterance=started.utterance, text=self._text, start_sample=started.start_sample, until_sample=until
            )
        )

    def _say_final(self, utterance: int) -> None:
        _, final = self._finals.pop(utterance)
        self._hear(final)

    def _spoken_until(self) -> int:
        """The sample after the last loud one: looked for when somebody asks, and not in every frame."""
        pcm, at = self._loud
        return at + loud_samples(pcm)[-1] + 1

    @property
    def _text(self) -> str:
        return self._options.texts[self._utterance % len(self._options.texts)]


class Attentive(Script):
    """One caller whose utterances the detector finds."""

    def __init__(self, options: Options, hear: Hear, detector: Detector) -> None:
        super().__init__(options, hear)
        self.memory = Memory()
        self._detector = detector
        self._tape = AudioBuffer()
        self._activity = VoiceActivity()
        self._until = 0  # of speech, once its end is known
        self._promised = False  # the final of the open utterance
        self._closed = False

    def feed(self, pcm: bytes, at: int) -> None:
        self._tape.append(pcm, at)
        if self._started is not None:
            self._listen(pcm, at)
        self._look()

    async def finish(self) -> None:
        if offset := self._activity.stop(self._tape.end):
            self._until = offset.at
        await super().finish()

    def close(self) -> None:
        self._closed = True
        self._detector.forget(self)
        super().close()

    def window(self) -> bytes | None:
        start = self._tape.start
        return self._tape.cut(start, start + WINDOW) if self._tape.end - start >= WINDOW else None

    def heard(self, probability: float) -> None:
        if self._closed:
            return
        change = self._activity.step(probability, self._tape.start)
        self._tape.forget(self._tape.start + WINDOW)
        match change:
            case Onset():
                self._until = 0
                self._start(change.at)
            case Offset():
                self._until = change.at
                self._end(change.at + change.silence_until(self._tape.end))
        self._look()

    def _listen(self, pcm: bytes, at: int) -> None:
        """The sound of speech ends, or goes on after all."""
        if loud(pcm):
            self._loud = pcm, at
            if self._utterance in self._finals:
                self._finals.pop(self._utterance)[0].cancel()
                self._promised = False
        elif not self._promised and self._loud[0]:
            self._promised = True
            super()._promise_final(super()._spoken_until())

    def _promise_final(self, until: int) -> None:
        if not self._promised:
            super()._promise_final(until)
        self._promised = False
        self._loud = b"", 0

    def _spoken_until(self) -> int:
        return self._until or self._tape.start

    def _look(self) -> None:
        if self._tape.end - self._tape.start >= WINDOW:
            self._detector.ready(self, urgent=self._activity.wavers)


class Scripted:
    """The provider. The detector is shared, and loaded when the first caller asks for it."""

    capacity = None

    def __init__(self, weights: Path, exits: AsyncExitStack) -> None:
        self._weights = weights
        self._exits = exits
        self._loading = asyncio.Lock()
        self._detector: Detector | None = None

    @asynccontextmanager
    async def open(self, options: dict[str, Any], hear: Hear) -> AsyncIterator[Script]:
        checked = parse_options(Options, options)
        script = Attentive(checked, hear, await self._shared()) if checked.voice_activity else Script(checked, hear)
        try:
            yield script
        finally:
            script.close()

    async def _shared(self) -> Detector:
        async with self._loading:
            if self._detector is None:
                self._detector = await self._exits.enter_async_context(open_detector(self._weights))
        return self._detector


@asynccontextmanager
async def open_detector(weights: Path) -> AsyncIterator[Detector]:
    """At work in a thread of its own. Raises ProviderMissing."""
    with ThreadPoolExecutor(1, "voice-activity") as thread:
        try:
            run = await asyncio.get_running_loop().run_in_executor(thread, load, weights)
        except ImportError as error:
            raise ProviderMissing(f"voice activity needs {error.name}: pip install -e '.[local]'") from None
        detector = Detector(run, thread)
        working = asyncio.create_task(detector.work())
        try:
            yield detector
        finally:
            working.cancel()
            with suppress(asyncio.CancelledError):
                await working


@asynccontextmanager
async def open_provider(context: ProviderContext) -> AsyncIterator[Scripted]:
    async with AsyncExitStack() as exits:
        yield Scripted(context.weights, exits)
