"""A recognizer whose texts stand in the agent document. It knows loud from silent only, so it works on every transport.

The worker's VAD begins and ends utterances. The recognizer settles the text by itself, from the sound, as the service
of a vendor does: `final_ms` after the sound, which may be before VAD reports the end.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from stages.runtime.providers import ProviderContext, parse_options
from stages.stt.contract import Capabilities, Heard, HeardFinal, HeardInterim, Voice
from stages.stt.heard_queue import HeardQueue
from stages.stt.loudness import loud, loud_samples, peak
from stages.stt.voice_activity import Offset, Onset

LOUDNESS_STEP = 1_000  # of 32,768: far above silence, and room for 32 texts

Delay = Annotated[int, Field(ge=0, le=60_000)]


class Options(BaseModel):
    """texts: used in turn, again and again; "" is a wordless noise. Delays count from the audio that causes them.

    by_loudness: the loudest sample of an utterance chooses its text instead: the first from LOUDNESS_STEP on, the
    second from twice that, and so on. So audio that is recognized again has the same text.
    final_ms: from the end of the sound to the final text, or from the end of speech by VAD if the sound was over before
    VAD had found speech. interim_ms: from the onset to an interim. ends_turn: the recognizer's own judgement.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    texts: Annotated[list[str], Field(min_length=1)] = ["Hello."]
    by_loudness: bool = False
    final_ms: Delay = 100
    interim_ms: Delay | None = None
    ends_turn: bool | None = True


class Script:
    """The recognizer of one caller: each utterance of VAD gets the next text."""

    def __init__(self, options: Options, voice: Voice) -> None:
        self.capabilities = Capabilities(interims=options.interim_ms is not None, final_within_ms=options.final_ms)
        self._options = options
        self._voice = voice
        self._outputs = HeardQueue()
        self._loop = asyncio.get_running_loop()
        self._utterance = -1  # the newest
        self._start: int | None = None  # of the open utterance
        self._loud = b"", 0  # the last loud frame of the open utterance, and its first sample
        self._peak = 0  # the loudest sample of the open utterance
        self._settled = False  # the open utterance has its final, or a timer for it
        self._interim: asyncio.TimerHandle | None = None
        self._finals: dict[int, tuple[asyncio.TimerHandle, HeardFinal]] = {}
        voice.follow(self)

    def feed(self, pcm: bytes, at_sample: int) -> None:
        """Find the end of the sound within an utterance; it may go on after all."""
        if self._start is None:
            return
        if loud(pcm):
            self._loud = pcm, at_sample
            if self._options.by_loudness:
                self._peak = max(self._peak, peak(pcm))
            if self._utterance in self._finals:
                self._finals.pop(self._utterance)[0].cancel()
                self._settled = False
        elif self._loud[0] and not self._settled:
            last_loud, at = self._loud
            self._settle(at + loud_samples(last_loud)[-1] + 1)

    def force_end(self) -> None:
        """Do nothing: the script decides when a text is final."""

    async def finish(self) -> None:
        for timer, final in self._finals.values():
            timer.cancel()
            self._outputs.put(final)
        self._finals.clear()
        self._outputs.end()

    def heard(self) -> AsyncIterator[Heard]:
        return self._outputs.heard()

    def close(self) -> None:
        self._outputs.end()
        for timer in [self._interim, *(timer for timer, _ in self._finals.values())]:
            if timer is not None:
                timer.cancel()

    def speech_started(self, onset: Onset) -> None:
        self._utterance += 1
        self._start, self._loud, self._settled, self._peak = onset.at, (b"", 0), False, 0
        if self._options.interim_ms is not None and self._text:
            self._interim = self._loop.call_later(self._options.interim_ms / 1000, self._put_interim, onset.at)

    def speech_ended(self, offset: Offset) -> None:
        if not self._settled:
            self._settle(offset.at)
        self._start = None

    def _settle(self, until: int) -> None:
        """Make the text of the open utterance final after `final_ms`."""
        assert self._start is not None
        self._settled = True
        final = HeardFinal(self._text, self._start, max(until, self._start), end_of_turn=self._options.ends_turn)
        timer = self._loop.call_later(self._options.final_ms / 1000, self._put_final, self._utterance)
        self._finals[self._utterance] = timer, final
        if self._interim is not None:
            self._interim.cancel()

    def _put_interim(self, start: int) -> None:
        self._outputs.put(HeardInterim(self._text, start, self._voice.end))

    def _put_final(self, utterance: int) -> None:
        _, final = self._finals.pop(utterance)
        self._outputs.put(final)

    @property
    def _text(self) -> str:
        number = self._peak // LOUDNESS_STEP - 1 if self._options.by_loudness else self._utterance
        return self._options.texts[number % len(self._options.texts)]


class Scripted:
    """The provider: sessions share nothing."""

    capacity = None

    @asynccontextmanager
    async def open(self, options: Mapping[str, Any], voice: Voice) -> AsyncIterator[Script]:
        script = Script(parse_options(Options, dict(options)), voice)
        try:
            yield script
        finally:
            script.close()


@asynccontextmanager
async def open_provider(context: ProviderContext) -> AsyncIterator[Scripted]:
    yield Scripted()
