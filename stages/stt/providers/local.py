"""Moonshine tiny on this machine's processor: no key, no network. English only."""

import asyncio
import ctypes
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import moonshine_voice
import numpy as np
from moonshine_voice.errors import MoonshineError, check_error
from moonshine_voice.moonshine_api import TranscriptC
from moonshine_voice.transcriber import Transcriber
from pydantic import BaseModel, ConfigDict

from schemas.audio import CALLER_HZ
from stages.runtime.engine_thread import engine_thread
from stages.runtime.options import English
from stages.runtime.providers import ProviderContext, ProviderError, ProviderMissing, parse_options
from stages.stt.contract import Voice
from stages.stt.segmenting_recognizer import SegmentingRecognizer
from stages.stt.silero import FULL_SCALE
from stages.stt.transcription_scheduler import TranscriptionScheduler

CAPACITY = 8  # calls on 2 cores: callers talk half the time, and of four who never pause 95 % of finals take < 0.3 s


class Options(BaseModel):
    """language: English, the one that the package has a model for."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    language: English = "en"


class Moonshine:
    """Moonshine tiny.en. Not for two threads at once."""

    def __init__(self) -> None:
        # Single-threaded it needs half the processor time and, on short stretches, no more of the clock's. The library
        # knows no other switch than the environment of its C side, which this sets without touching Python's.
        os.putenv("MOONSHINE_ORT_SINGLE_THREAD", "1")
        model = Path(moonshine_voice.__file__).parent / "assets" / "tiny-en"
        try:
            # Stretches come cut: threshold 0 turns the library's own voice activity off. Audio is not handed back.
            options = {"vad_threshold": "0", "return_audio_data": "false"}
            self._transcriber = Transcriber(model, moonshine_voice.ModelArch.TINY, options=options)
        except MoonshineError as error:
            raise ProviderMissing(f"moonshine-voice does not load: {error}: pip install -e '.[local]'") from error
        self.transcribe(bytes(CALLER_HZ))  # the first run is the slowest

    def transcribe(self, pcm: bytes) -> str:
        """Return the words in PCM16 mono at 16 kHz. Raises ProviderError."""
        samples = np.frombuffer(pcm, "<i2") / FULL_SCALE
        lines = ctypes.POINTER(TranscriptC)()
        try:
            # Its Python wrapper would take a list of floats and hold the interpreter for 10 ms while it copies that.
            error = self._transcriber._lib.moonshine_transcribe_without_streaming(
                self._transcriber._handle,
                samples.ctypes.data_as(ctypes.POINTER(ctypes.c_float)),
                len(samples),
                CALLER_HZ,
                0,
                ctypes.byref(lines),
            )
            check_error(error)
            return " ".join(line.text for line in self._transcriber._parse_transcript(lines).lines)
        except MoonshineError as error:
            raise ProviderError("server", f"moonshine: {type(error).__name__}") from None

    def close(self) -> None:
        self._transcriber.close()


class Local:
    """The provider: one model in one thread, and a segmenting recognizer for each caller."""

    capacity = CAPACITY

    def __init__(self, scheduler: TranscriptionScheduler) -> None:
        self._scheduler = scheduler

    @asynccontextmanager
    async def open(self, options: Mapping[str, Any], voice: Voice) -> AsyncIterator[SegmentingRecognizer]:
        parse_options(Options, options)
        recognizer = SegmentingRecognizer(self._scheduler, voice)
        try:
            yield recognizer
        finally:
            recognizer.close()


@asynccontextmanager
async def open_provider(context: ProviderContext) -> AsyncIterator[Local]:
    loop = asyncio.get_running_loop()
    with engine_thread("recognizer") as thread:
        moonshine = await loop.run_in_executor(thread, Moonshine)

        async def transcribe(pcm: bytes) -> str:
            return await loop.run_in_executor(thread, moonshine.transcribe, pcm)

        scheduler = TranscriptionScheduler(transcribe)
        with scheduler.working():
            yield Local(scheduler)
        await loop.run_in_executor(thread, moonshine.close)  # behind a transcription that still runs
