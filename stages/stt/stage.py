"""Caller audio -> speech_started, speech_ended, transcripts: the recogniser's words, numbered for the call."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import ClassVar

import msgspec

from schemas.audio import CALLER_HZ
from schemas.events import (
    MOST_UNFINISHED,
    Event,
    SpeechEnded,
    SpeechStarted,
    SttProviderFailed,
    TranscriptFinal,
    TranscriptInterim,
)
from schemas.media import Frame
from session.state import SessionState
from stages.runtime.context import StageContext
from stages.runtime.providers import ProviderError, Providers, Recognizer, RecognizerProvider

FINISH_WITHIN_S = 1.0  # half of what a stage has to flush in


class Hearing:
    """Hears one caller. first_utterance: where numbering goes on after a takeover."""

    publishes: ClassVar[tuple[type[Event], ...]] = (
        SpeechStarted,
        SpeechEnded,
        TranscriptFinal,
        TranscriptInterim,
        SttProviderFailed,
    )

    def __init__(self, call: StageContext, first_utterance: int = 0) -> None:
        self._call = call
        self._first = first_utterance
        self._unfinished: set[int] = set()  # utterances without their final
        self.recognizer: Recognizer | None = None  # none before it is open and after it has failed

    def on_audio(self, frame: Frame) -> None:
        if frame.rate != CALLER_HZ:
            self._call.count("wrong_rate")
        elif self.recognizer is not None:
            try:
                self.recognizer.feed(frame.pcm, frame.at)
            except ProviderError as error:
                self._fail(error)

    def hear(self, event: Event) -> None:
        """What the recogniser heard, said with the number that it has in the call."""
        assert isinstance(event, SpeechStarted | SpeechEnded | TranscriptFinal | TranscriptInterim)
        self._call.publish(msgspec.structs.replace(event, utterance=event.utterance + self._first))
        match event:
            case SpeechStarted():
                self._unfinished.add(event.utterance)
                if len(self._unfinished) > MOST_UNFINISHED:
                    self._fail(ProviderError("server", "the recogniser cannot keep up: too many calls", retryable=True))
            case TranscriptFinal():
                self._unfinished.discard(event.utterance)

    def _fail(self, error: ProviderError) -> None:
        if self.recognizer is None:
            return
        self.recognizer = None
        name = self._call.agent.stt.provider
        self._call.publish(
            SttProviderFailed(provider=name, kind=error.kind, message=str(error), retryable=error.retryable)
        )
        self._call.fail(error)


STAGE = Hearing


@asynccontextmanager
async def open_worker(providers: Providers[RecognizerProvider]) -> AsyncIterator[Providers[RecognizerProvider]]:
    yield providers


@asynccontextmanager
async def open_session(call: StageContext, shared: Providers[RecognizerProvider]) -> AsyncIterator[Hearing]:
    """Raises ProviderMissing or ProviderError if the recogniser does not open, ProviderError if it fails later."""
    provider = await shared.get(call.agent.stt.provider)
    hearing = Hearing(call, _utterances_before(call.snapshot))
    async with provider.open(call.agent.stt.options, hearing.hear) as recognizer:
        hearing.recognizer = recognizer
        yield hearing
        async with asyncio.timeout(FINISH_WITHIN_S):
            await recognizer.finish()


def _utterances_before(snapshot: bytes) -> int:
    if not snapshot:
        return 0
    return max(msgspec.msgpack.decode(snapshot, type=SessionState).utterances, default=-1) + 1
